// The vector kernels, written once. Products are our own and not calls of a BLAS: a row that is computed alone must equal
// that row of the whole matrix bit for bit, and entry (i, j) entry (j, i), so that integers taken off a gain are those
// that were put on. A BLAS promises neither, since its order of summation depends on the shape of the call.
//
// A file that includes this has set the target, ACS_NAMESPACE, ACS_BYTES (of a vector), ACS_MR (rows of a micro-tile),
// ACS_NV (vectors across it), and `fused` and `root`: its multiply-add and square root. Everything here has internal
// linkage, so that no code for a newer processor can leak into shared functions.

namespace acs_fast {
namespace ACS_NAMESPACE {
namespace {

template <class T>
struct Vector;
template <>
struct Vector<float> {
  typedef float type __attribute__((vector_size(ACS_BYTES)));
  typedef float loose __attribute__((vector_size(ACS_BYTES), aligned(4), may_alias));
  typedef uint32_t word;
  typedef uint32_t words __attribute__((vector_size(ACS_BYTES)));
  typedef uint32_t loose_words __attribute__((vector_size(ACS_BYTES), aligned(4), may_alias));
  typedef float half __attribute__((vector_size(ACS_BYTES / 2)));
  typedef float loose_half __attribute__((vector_size(ACS_BYTES / 2), aligned(4), may_alias));
};
template <>
struct Vector<double> {
  typedef double type __attribute__((vector_size(ACS_BYTES)));
  typedef double loose __attribute__((vector_size(ACS_BYTES), aligned(8), may_alias));
  typedef uint64_t word;
  typedef uint64_t words __attribute__((vector_size(ACS_BYTES)));
  typedef uint64_t loose_words __attribute__((vector_size(ACS_BYTES), aligned(8), may_alias));
};
typedef Vector<double>::words Words;
typedef Vector<double>::loose_words LooseWords;
typedef int64_t Integers __attribute__((vector_size(ACS_BYTES)));
typedef int64_t LooseIntegers __attribute__((vector_size(ACS_BYTES), aligned(8), may_alias));

template <class T>
using Vec = typename Vector<T>::type;
template <class T>
constexpr int kLanes = ACS_BYTES / sizeof(T);
constexpr int kDoubles = kLanes<double>;

template <class T>
inline Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename Vector<T>::loose*>(p);
}
template <class T>
inline void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename Vector<T>::loose*>(p) = v;
}
template <class T>
inline Vec<T> fill(T x) {
  return x - Vec<T>{};
}
template <class V>
inline V lower_of(V a, V b) {
  return a < b ? a : b;
}
template <class V>
inline V higher_of(V a, V b) {
  return a > b ? a : b;
}
inline Vec<double> load_doubles(const double* p) { return load(p); }
inline Vec<double> load_doubles(const float* p) {
  typedef Vector<float> F;
  return __builtin_convertvector(F::half(*reinterpret_cast<const F::loose_half*>(p)), Vec<double>);
}
// The upper half of the lanes onto the lower, until one is left
typedef double Pair __attribute__((vector_size(16)));
inline double total(Pair v) { return v[0] + v[1]; }
#if ACS_BYTES >= 32
typedef double Four __attribute__((vector_size(32)));
inline double total(Four v) { return total(__builtin_shufflevector(v, v, 0, 1) + __builtin_shufflevector(v, v, 2, 3)); }
#endif
#if ACS_BYTES >= 64
typedef double Eight __attribute__((vector_size(64)));
inline double total(Eight v) {
  return total(__builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7));
}
#endif

template <class T, int ROWS>
inline void multiply_rows(const T* a, const T* b, int64_t k, T* out, int64_t stride, bool accumulate) {
  constexpr int L = kLanes<T>;
  Vec<T> acc[ROWS][ACS_NV];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < ACS_NV; ++v) acc[i][v] = Vec<T>{};
  for (int64_t p = 0; p < k; ++p, a += ACS_MR, b += ACS_NV * L) {
    Vec<T> right[ACS_NV];
#pragma GCC unroll 4
    for (int v = 0; v < ACS_NV; ++v) right[v] = load(b + v * L);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      const Vec<T> left = fill(a[i]);
#pragma GCC unroll 4
      for (int v = 0; v < ACS_NV; ++v) acc[i][v] = fused(left, right[v], acc[i][v]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < ACS_NV; ++v) {
      T* p = out + i * stride + v * L;
      store(p, accumulate ? load(p) + acc[i][v] : acc[i][v]);
    }
}

template <class T>
void multiply_kernel(const T* a, const T* b, int64_t k, int64_t rows, T* out, int64_t stride, bool accumulate) {
  static_assert(ACS_MR > 4, "the cases below are smaller");
  if (rows == 1) return multiply_rows<T, 1>(a, b, k, out, stride, accumulate);
  if (rows <= 4) return multiply_rows<T, 4>(a, b, k, out, stride, accumulate);
#if ACS_MR > 8
  if (rows <= 8) return multiply_rows<T, 8>(a, b, k, out, stride, accumulate);
  if (rows <= 10) return multiply_rows<T, 10>(a, b, k, out, stride, accumulate);
#endif
  multiply_rows<T, ACS_MR>(a, b, k, out, stride, accumulate);
}

template <class T>
void combine_kernel(const T* qq, const T* pp, const Cross<T>& left, const Cross<T>& right, T mm, T kk, int64_t rows,
                    T* gram, int64_t stride, bool accumulate) {
  constexpr int L = kLanes<T>;
  for (int64_t i = 0; i < rows; ++i, qq += ACS_NV * L, pp += stride, gram += stride) {
    const Vec<T> u = fill(left.u[i]), v = fill(left.v[i]);
    for (int j = 0; j < ACS_NV * L; j += L) {
      const Vec<T> q = load(qq + j), uj = load(right.u + j), vj = load(right.v + j);
      // every sum here is the same for (i, j) and (j, i)
      Vec<T> sum = (q + (v + vj) + mm) * load(pp + j) + q * ((u + uj) + kk) + (v * uj + vj * u);
      store(gram + j, accumulate ? load(gram + j) + sum : sum);
    }
  }
}

template <class T>
RowSummary<T> distance_row_kernel(const T* gram, T norm, const T* norms, int64_t n, T threshold, bool squared, T* out) {
  constexpr int L = kLanes<T>;
  const Vec<T> own = fill(norm), zero{};
  Vec<T> largest{};
  decltype(own < own) close{};
  const auto distances = [&](const T* g, const T* other) {
    const Vec<T> scale = own + load(other), d = scale - T(2) * load(g);
    close |= d <= threshold * scale;
    const Vec<T> kept = higher_of(d, zero);
    return squared ? kept : root(kept);
  };
  int64_t j = 0;
  for (; j + L <= n; j += L) {
    const Vec<T> d = distances(gram + j, norms + j);
    largest = higher_of(largest, d);
    store(out + j, d);
  }
  T top = T(0);
  if (j < n) {  // a vector of which only the first lanes count: the others repeat the last one
    T g[L], other[L];
    for (int l = 0; l < L; ++l) {
      const int64_t at = j + l < n ? j + l : n - 1;
      g[l] = gram[at];
      other[l] = norms[at];
    }
    const Vec<T> d = distances(g, other);
    largest = higher_of(largest, d);
    for (int l = 0; j + l < n; ++l) out[j + l] = d[l];
  }
  bool any = false;
  for (int l = 0; l < L; ++l) {
    any |= close[l] != 0;
    top = largest[l] > top ? largest[l] : top;
  }
  return {any, top};
}

template <class T>
inline void transpose_block(const T* in, int64_t stride, T* out, int64_t out_stride) {
  for (int j = 0; j < 4; ++j)
    for (int i = 0; i < 4; ++i) out[j * out_stride + i] = in[i * stride + j];
}

#if __has_builtin(__builtin_shufflevector)
inline void transpose_block(const float* in, int64_t stride, float* out, int64_t out_stride) {
  typedef float Four __attribute__((vector_size(16)));
  typedef float Loose __attribute__((vector_size(16), aligned(4), may_alias));
  const auto row = [&](int i) { return Four(*reinterpret_cast<const Loose*>(in + i * stride)); };
  const Four a = row(0), b = row(1), c = row(2), d = row(3);
  const Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Four ef = __builtin_shufflevector(a, b, 2, 6, 3, 7), gh = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  *reinterpret_cast<Loose*>(out) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  *reinterpret_cast<Loose*>(out + out_stride) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  *reinterpret_cast<Loose*>(out + 2 * out_stride) = __builtin_shufflevector(ef, gh, 0, 1, 4, 5);
  *reinterpret_cast<Loose*>(out + 3 * out_stride) = __builtin_shufflevector(ef, gh, 2, 3, 6, 7);
}
#endif

template <class T>
void transpose_kernel(const T* in, int64_t stride, int64_t rows, int64_t columns, T* out, int64_t out_stride) {
  const int64_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  for (int64_t j = 0; j < whole_columns; j += 4)
    for (int64_t i = 0; i < whole_rows; i += 4)
      transpose_block(in + i * stride + j, stride, out + j * out_stride + i, out_stride);
  for (int64_t j = 0; j < columns; ++j)
    for (int64_t i = j < whole_columns ? whole_rows : 0; i < rows; ++i) out[j * out_stride + i] = in[i * stride + j];
}

template <class T>
bool mirrors_kernel(const T* block, const T* other, int64_t stride, int64_t rows, int64_t columns, uint64_t* largest) {
  typedef typename Vector<T>::word Word;
  typedef typename Vector<T>::loose_words LooseBits;
  constexpr int L = kLanes<T>;
  T mirrored[kCompared * kCompared];
  transpose_kernel(other, stride, columns, rows, mirrored, kCompared);
  typename Vector<T>::words differs{}, most{};
  Word different = 0, top = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const T *a = block + i * stride, *b = mirrored + i * kCompared;
    int64_t j = 0;
    for (; j + L <= columns; j += L) {
      const auto x = *reinterpret_cast<const LooseBits*>(a + j), y = *reinterpret_cast<const LooseBits*>(b + j);
      differs |= x ^ y;
      const auto higher = x > y ? x : y;
      most = higher > most ? higher : most;
    }
    for (; j < columns; ++j) {
      Word x, y;
      __builtin_memcpy(&x, a + j, sizeof x);
      __builtin_memcpy(&y, b + j, sizeof y);
      different |= x ^ y;
      top = x > top ? x : top;
      top = y > top ? y : top;
    }
  }
  for (int l = 0; l < L; ++l) {
    different |= differs[l];
    top = most[l] > top ? most[l] : top;
  }
  *largest = top > *largest ? top : *largest;
  return different == 0;
}

template <class T, int COUNT>
inline void clamp_sum_rows(uint64_t* sum, const T* const* rows, const T* low, const T* high, int64_t begin, int64_t end,
                           double scale, uint64_t offset) {
  const Vec<double> s = fill(scale), magic = fill(kRoundingMagic);
  int64_t j = begin;
  for (; j + kDoubles <= end; j += kDoubles) {
    Words acc = *reinterpret_cast<LooseWords*>(sum + j) + offset;
#pragma GCC unroll 8
    for (int r = 0; r < COUNT; ++r) {
      Vec<double> d = load_doubles(rows[r] + j);
      d = higher_of(lower_of(d, fill(double(high[r]))), fill(double(low[r])));
      acc += reinterpret_cast<Words>(fused(d, s, magic));
    }
    *reinterpret_cast<LooseWords*>(sum + j) = acc;
  }
  for (; j < end; ++j) {
    uint64_t acc = sum[j] + offset;
    for (int r = 0; r < COUNT; ++r) {
      double d = double(rows[r][j]);
      d = d < double(high[r]) ? d : double(high[r]);
      d = d > double(low[r]) ? d : double(low[r]);
      const double rounded = d * scale + kRoundingMagic;  // d * 2^e is exact, so fused or not is the same
      uint64_t bits;
      __builtin_memcpy(&bits, &rounded, sizeof bits);
      acc += bits;
    }
    sum[j] = acc;
  }
}

template <class T>
void clamp_sum_kernel(uint64_t* sum, const T* const* rows, const T* low, const T* high, int count, int64_t begin,
                      int64_t end, double scale, uint64_t offset) {
  switch (count) {
    case 8: return clamp_sum_rows<T, 8>(sum, rows, low, high, begin, end, scale, offset);
    case 7: return clamp_sum_rows<T, 7>(sum, rows, low, high, begin, end, scale, offset);
    case 6: return clamp_sum_rows<T, 6>(sum, rows, low, high, begin, end, scale, offset);
    case 5: return clamp_sum_rows<T, 5>(sum, rows, low, high, begin, end, scale, offset);
    case 4: return clamp_sum_rows<T, 4>(sum, rows, low, high, begin, end, scale, offset);
    case 3: return clamp_sum_rows<T, 3>(sum, rows, low, high, begin, end, scale, offset);
    case 2: return clamp_sum_rows<T, 2>(sum, rows, low, high, begin, end, scale, offset);
    case 1: return clamp_sum_rows<T, 1>(sum, rows, low, high, begin, end, scale, offset);
    default: return;
  }
}

template <class T>
uint64_t clamp_total_kernel(const T* d, const T* high, int64_t n, double scale) {
  const Vec<double> s = fill(scale), magic = fill(kRoundingMagic);
  Words sums{};
  int64_t j = 0;
  for (; j + kDoubles <= n; j += kDoubles)
    sums += reinterpret_cast<Words>(fused(lower_of(load_doubles(d + j), load_doubles(high + j)), s, magic));
  uint64_t total = 0;
  for (int l = 0; l < kDoubles; ++l) total += sums[l];
  for (; j < n; ++j) {
    const double rounded = double(d[j] < high[j] ? d[j] : high[j]) * scale + kRoundingMagic;
    uint64_t bits;
    __builtin_memcpy(&bits, &rounded, sizeof bits);
    total += bits;
  }
  return total;
}

template <class T>
int64_t find_lower_kernel(const T* candidate, const T* current, int64_t n, int32_t* out) {
  constexpr int BLOCK = 2 * kLanes<T>;
  int64_t found = 0, i = 0;
  for (; i + BLOCK <= n; i += BLOCK) {
    int any = 0;
    for (int l = 0; l < BLOCK; ++l) any |= candidate[i + l] < current[i + l];
    if (!any) continue;
    for (int l = 0; l < BLOCK; ++l) {
      out[found] = int32_t(i + l);
      found += candidate[i + l] < current[i + l];
    }
  }
  for (; i < n; ++i)
    if (candidate[i] < current[i]) out[found++] = int32_t(i);
  return found;
}

int64_t argmax_kernel(const int64_t* values, int64_t begin, int64_t end) {
  int64_t best = values[begin], i = begin;
  Integers top = best - Integers{};
  for (; i + kDoubles <= end; i += kDoubles) {
    const Integers v = *reinterpret_cast<const LooseIntegers*>(values + i);
    top = v > top ? v : top;
  }
  for (int l = 0; l < kDoubles; ++l) best = top[l] > best ? top[l] : best;
  for (; i < end; ++i) best = values[i] > best ? values[i] : best;
  for (i = begin; values[i] != best; ++i) {
  }
  return i;
}

template <class T>
double dot_kernel(const T* x, const double* y, int64_t n) {
  constexpr int L = kDoubles;
  Vec<double> a{}, b{}, c{}, d{};
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L) {
    a = fused(load_doubles(x + i), load(y + i), a);
    b = fused(load_doubles(x + i + L), load(y + i + L), b);
    c = fused(load_doubles(x + i + 2 * L), load(y + i + 2 * L), c);
    d = fused(load_doubles(x + i + 3 * L), load(y + i + 3 * L), d);
  }
  for (; i + L <= n; i += L) a = fused(load_doubles(x + i), load(y + i), a);
  double sum = total((a + b) + (c + d));
  for (; i < n; ++i) sum += double(x[i]) * y[i];
  return sum;
}

template <class T>
double dot_differences_kernel(const T* x, const T* y, const T* u, const T* v, int64_t n) {
  constexpr int L = kDoubles;
  Vec<double> sums{};
  int64_t i = 0;
  for (; i + L <= n; i += L) {
    const Vec<double> left = y ? load_doubles(x + i) - load_doubles(y + i) : load_doubles(x + i);
    const Vec<double> right = v ? load_doubles(u + i) - load_doubles(v + i) : load_doubles(u + i);
    sums = fused(left, right, sums);
  }
  double sum = total(sums);
  for (; i < n; ++i) sum += (double(x[i]) - (y ? double(y[i]) : 0.0)) * (double(u[i]) - (v ? double(v[i]) : 0.0));
  return sum;
}

template <int COUNT>
inline void subtract_columns(double* out, const double* const* columns, const double* weights, int64_t begin,
                             int64_t end) {
  int64_t j = begin;
  for (; j + kDoubles <= end; j += kDoubles) {
    Vec<double> acc = load(out + j);
#pragma GCC unroll 8
    for (int m = 0; m < COUNT; ++m) acc = fused(load(columns[m] + j), fill(-weights[m]), acc);
    store(out + j, acc);
  }
  for (; j < end; ++j) {  // one lane of the same arithmetic
    Vec<double> acc = fill(out[j]);
    for (int m = 0; m < COUNT; ++m) acc = fused(fill(columns[m][j]), fill(-weights[m]), acc);
    out[j] = acc[0];
  }
}

void subtract_kernel(double* out, const double* const* columns, const double* weights, int64_t count, int64_t begin,
                     int64_t end) {
  constexpr int64_t CHUNK = 1024;  // of `out`, which stays in the nearest cache
  for (int64_t j = begin; j < end; j += CHUNK) {
    const int64_t stop = j + CHUNK < end ? j + CHUNK : end;
    int64_t m = 0;
    for (; m + 8 <= count; m += 8) subtract_columns<8>(out, columns + m, weights + m, j, stop);
    for (; m < count; ++m) subtract_columns<1>(out, columns + m, weights + m, j, stop);
  }
}

void rotate_kernel(double c, double s, double* above, const double* below, double* out, int64_t n) {
  const Vec<double> cosine = fill(c), sine = fill(s);
  int64_t j = 0;
  for (; j + kDoubles <= n; j += kDoubles) {
    const Vec<double> a = load(above + j), b = load(below + j);
    store(out + j, fused(cosine, a, sine * b));
    store(above + j, fused(cosine, b, -(sine * a)));
  }
  for (; j < n; ++j) {
    const double a = above[j], b = below[j];
    out[j] = c * a + s * b;
    above[j] = c * b - s * a;
  }
}

template <class T, int ROWS, int COUNT>
inline void dots_block(const T* const* x, const double* const* y, int64_t n, double (*out)[kDotColumns]) {
  Vec<double> sums[ROWS][COUNT] = {};
  int64_t d = 0;
  for (; d + kDoubles <= n; d += kDoubles) {
    Vec<double> left[ROWS];
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; ++i) left[i] = load_doubles(x[i] + d);
#pragma GCC unroll 4
    for (int p = 0; p < COUNT; ++p) {
      const Vec<double> right = load(y[p] + d);
#pragma GCC unroll 4
      for (int i = 0; i < ROWS; ++i) sums[i][p] = fused(left[i], right, sums[i][p]);
    }
  }
  for (int i = 0; i < ROWS; ++i)
    for (int p = 0; p < COUNT; ++p) {
      double sum = total(sums[i][p]);
      for (int64_t e = d; e < n; ++e) sum += double(x[i][e]) * y[p][e];
      out[i][p] = sum;
    }
}

template <class T>
void dots_kernel(const T* const* x, int rows, const double* const* y, int count, int64_t n,
                 double (*out)[kDotColumns]) {
  static_assert(kDotRows == 2 && kDotColumns == 4, "the cases below are these");
  switch (rows * 8 + count) {
    case 8 + 1: return dots_block<T, 1, 1>(x, y, n, out);
    case 8 + 2: return dots_block<T, 1, 2>(x, y, n, out);
    case 8 + 3: return dots_block<T, 1, 3>(x, y, n, out);
    case 8 + 4: return dots_block<T, 1, 4>(x, y, n, out);
    case 16 + 1: return dots_block<T, 2, 1>(x, y, n, out);
    case 16 + 2: return dots_block<T, 2, 2>(x, y, n, out);
    case 16 + 3: return dots_block<T, 2, 3>(x, y, n, out);
    case 16 + 4: return dots_block<T, 2, 4>(x, y, n, out);
    default: return;
  }
}

template <class T>
constexpr Kernels<T> table() {
  constexpr int nr = ACS_NV * kLanes<T>;
  static_assert(ACS_TILE % nr == 0 && ACS_TILE % ACS_MR == 0, "micro-tiles must fill a tile");
  return {ACS_MR, nr, ACS_TILE,
          multiply_kernel<T>, combine_kernel<T>, distance_row_kernel<T>,
          transpose_kernel<T>, mirrors_kernel<T>,
          clamp_sum_kernel<T>, clamp_total_kernel<T>, find_lower_kernel<T>, argmax_kernel,
          dots_kernel<T>, dot_kernel<T>, dot_differences_kernel<T>};
}

}  // namespace

const Kernels<float> kFloat = table<float>();
const Kernels<double> kDouble = table<double>();
const DoubleKernels kExtra = {subtract_kernel, rotate_kernel};

}  // namespace ACS_NAMESPACE
}  // namespace acs_fast
