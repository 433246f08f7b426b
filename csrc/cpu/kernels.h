// The table of vector kernels, one instance per instruction set; `kernels<T>()` is the one chosen at run time.
#pragma once

#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__)
#define ACS_FAST_X86
#endif

namespace acs_fast {

// Adding this to a double in [0, 2^51) rounds it half to even; the sum's low bits are then that integer.
constexpr double kRoundingMagic = 6755399441055744.0;  // 1.5 * 2^52
constexpr uint64_t kRoundingMagicBits = 0x4338000000000000u;

constexpr int kCompared = 64;   // rows and columns of a block that is compared with its mirror image
constexpr int kChain = 16;       // columns of which add_columns takes one chain of products
constexpr int kRowsAtOnce = 8;  // rows that one clamp_sum reads side by side
constexpr int kDots = 4;         // inner products that one `dots` takes side by side

// Inner products of samples' deviations with the means of the other factor's pass: v = <q, m>, u = <p, k>.
template <class T>
struct Cross {
  const T* u;
  const T* v;
};

template <class T>
struct RowSummary {
  bool close;  // some d^2 <= limit_i + limit_j
  T largest;
};

template <class T>
struct Kernels {
  int mr;    // rows of a micro-tile
  int nr;    // columns of a micro-tile
  int tile;  // rows and columns of a tile, a multiple of both

  // out[mr x nr] (+)= sum_k a[k * mr + i] * b[k * nr + j] at least in the first `rows` rows; each entry is one chain
  // over k, whatever its place
  void (*multiply)(const T* a, const T* b, int64_t k, int64_t rows, T* out, int64_t stride, bool accumulate);
  // The inner products of centred gradients from those of their factors, over `rows` rows and nr columns: qq is a dense
  // micro-tile; pp and gram have row stride `stride`; left and right belong to the rows and columns.
  //   gram (+)= (qq + (v_i + v_j) + mm) pp + qq (u_i + u_j + kk) + (v_i u_j + v_j u_i)
  void (*combine)(const T* qq, const T* pp, const Cross<T>& left, const Cross<T>& right, T mm, T kk, int64_t rows,
                  T* gram, int64_t stride, bool accumulate);
  // out_j = max(norm_i + norm_j - 2 gram_j, 0), or its root; whether any is close, and the largest
  RowSummary<T> (*distance_row)(const T* gram, T norm, const T* norms, T limit, const T* limits, int64_t n, bool squared,
                                T* out);
  // out[j * out_stride + i] = in[i * stride + j]
  void (*transpose)(const T* in, int64_t stride, int64_t rows, int64_t columns, T* out, int64_t out_stride);

  // Whether a [rows, columns] block equals, bit for bit, the transpose of another; raises `largest` to its largest bits
  // (those of the largest entry, where none is negative). At most kCompared rows and columns.
  bool (*mirrors)(const T* block, const T* other, int64_t stride, int64_t rows, int64_t columns, uint64_t* largest);

  // sum_j += offset + sum_r bits(clamp(rows[r][j], low[r], high[r]) * scale + magic), count <= kRowsAtOnce
  void (*clamp_sum)(uint64_t* sum, const T* const* rows, const T* low, const T* high, int count, int64_t begin,
                    int64_t end, double scale, uint64_t offset);
  // sum_j bits(min(d_j, high_j) * scale + magic)
  uint64_t (*clamp_total)(const T* d, const T* high, int64_t n, double scale);
  // writes the i in [0, n) with candidate[i] < current[i], ascending; returns how many
  int64_t (*find_lower)(const T* candidate, const T* current, int64_t n, int32_t* out);
  // largest of values[begin, end), the lowest index among equals
  int64_t (*argmax)(const int64_t* values, int64_t begin, int64_t end);

  // out[i] = sum_d x[i]_d * y_d in float64, for count <= kDots; each is the same chain over d, whatever its place
  void (*dots)(const T* const* x, int count, const double* y, int64_t n, double* out);
  // sum_d x_d * y_d in float64
  double (*dot)(const T* x, const double* y, int64_t n);
  // sum_d (x_d - y_d) * (u_d - v_d) in float64; y and v may be null
  double (*dot_differences)(const T* x, const T* y, const T* u, const T* v, int64_t n);
  // out_j += sum_m weights[m] * columns[m][j] for j in [begin, end): chains over at most kChain columns, added in float64
  void (*add_columns)(double* out, const T* const* columns, const T* weights, int64_t count, int64_t begin, int64_t end);
};

struct DoubleKernels {
  // out_j -= sum_m weights[m] * columns[m][j] for j in [begin, end)
  void (*subtract)(double* out, const double* const* columns, const double* weights, int64_t count, int64_t begin,
                   int64_t end);
  // out_j = c * above_j + s * below_j and above_j = c * below_j - s * above_j
  void (*rotate)(double c, double s, double* above, const double* below, double* out, int64_t n);
};

enum class Simd { kBaseline, kAvx2, kAvx512 };

Simd best_simd_level();  // that the processor has
Simd simd_level();       // chosen once: the best, or the one that ACS_FAST_SIMD names
const char* simd_name(Simd level);

template <class T>
const Kernels<T>& kernels();
const DoubleKernels& double_kernels();

namespace baseline {
extern const Kernels<float> kFloat;
extern const Kernels<double> kDouble;
extern const DoubleKernels kExtra;
}  // namespace baseline
namespace avx2 {
extern const Kernels<float> kFloat;
extern const Kernels<double> kDouble;
extern const DoubleKernels kExtra;
}  // namespace avx2
namespace avx512 {
extern const Kernels<float> kFloat;
extern const Kernels<double> kDouble;
extern const DoubleKernels kExtra;
}  // namespace avx512

}  // namespace acs_fast
