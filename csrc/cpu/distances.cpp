#include "distances.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace acs_fast {
namespace {

constexpr int64_t kDepth = 128;  // of the products that stay in a register tile before they join the sum

template <class T>
bool equal_factors(const Factors<T>& f, int64_t i, int64_t j) {
  return std::memcmp(f.residual(i, 0), f.residual(j, 0), sizeof(T) * f.R * f.C) == 0 &&
         std::memcmp(f.feature(i, 0), f.feature(j, 0), sizeof(T) * f.R * f.D) == 0;
}

}  // namespace

template <class T>
double squared_norm(const Factors<T>& f, int64_t i) {
  const auto& k = kernels<T>();
  double sum = 0.0;
  for (int64_t a = 0; a < f.R; ++a)
    for (int64_t b = 0; b < f.R; ++b)
      sum += k.dot_differences(f.residual(i, a), nullptr, f.residual(i, b), nullptr, f.C) *
             (k.dot_differences(f.feature(i, a), nullptr, f.feature(i, b), nullptr, f.D) + double(f.bias));
  return sum;
}

// g_i - g_j = sum_a (r_i^a - r_j^a) (x) (h_i^a, [1]) + r_j^a (x) (h_i^a - h_j^a, [0])
template <class T>
double squared_norm_of_difference(const Factors<T>& f, int64_t i, int64_t j) {
  if (i > j) std::swap(i, j);
  if (equal_factors(f, i, j)) return 0.0;
  const auto dot = kernels<T>().dot_differences;
  double sum = 0.0;
  for (int64_t a = 0; a < f.R; ++a)
    for (int64_t b = 0; b < f.R; ++b) {
      const T *ria = f.residual(i, a), *rja = f.residual(j, a), *hia = f.feature(i, a), *hja = f.feature(j, a);
      const T *rib = f.residual(i, b), *rjb = f.residual(j, b), *hib = f.feature(i, b), *hjb = f.feature(j, b);
      sum += dot(ria, rja, rib, rjb, f.C) * (dot(hia, nullptr, hib, nullptr, f.D) + double(f.bias));
      sum += 2.0 * dot(ria, rja, rjb, nullptr, f.C) * dot(hia, nullptr, hib, hjb, f.D);
      sum += dot(rja, nullptr, rjb, nullptr, f.C) * dot(hia, hja, hib, hjb, f.D);
    }
  return sum > 0.0 ? sum : 0.0;
}

template <class T>
Panels<T>::Panels(const Factors<T>& f, int width, int64_t count)
    : width_(width), R_(f.R), C_(f.C), D_(f.D), data_(panels(count) * width * f.R * (f.C + f.D)) {}

template <class T>
void Panels<T>::pack(const Factors<T>& f, const int32_t* samples, int64_t count, int64_t begin, int64_t end) {
  for (int64_t panel = begin; panel < end; ++panel)
    for (int64_t pass = 0; pass < R_; ++pass) {
      T* out = const_cast<T*>(residual(panel, pass));
      for (int64_t lane = 0; lane < width_; ++lane) {
        const int64_t s = panel * width_ + lane;
        if (s >= count) {
          for (int64_t d = 0; d < C_ + D_; ++d) out[d * width_ + lane] = T(0);
          continue;
        }
        const int64_t i = samples ? samples[s] : s;
        const T *r = f.residual(i, pass), *h = f.feature(i, pass);
        for (int64_t c = 0; c < C_; ++c) out[c * width_ + lane] = r[c];
        for (int64_t d = 0; d < D_; ++d) out[(C_ + d) * width_ + lane] = h[d];
      }
    }
}

template <class T>
TileBuffers<T>::TileBuffers(int tile, int64_t R)
    : gram(size_t(tile) * tile), hh(size_t(tile) * tile), rr(size_t(tile) * tile), d(size_t(tile) * tile) {
  if (R > 1) above.resize(gram.size()), below.resize(gram.size());
}

template <class T>
Distances<T>::Distances(const Factors<T>& factors, bool squared)
    : f_(factors),
      k_(kernels<T>()),
      squared_(squared),
      threshold_(T(3) * std::sqrt(std::numeric_limits<T>::epsilon())),
      left_(factors, k_.mr, factors.n),
      right_(factors, k_.nr, factors.n),
      norms_(factors.n) {}

template <class T>
void Distances<T>::prepare(const Team& team, int rank) {
  const Span left = team.part(rank, left_.panels(f_.n), 1), right = team.part(rank, right_.panels(f_.n), 1);
  left_.pack(f_, nullptr, f_.n, left.begin, left.end);
  right_.pack(f_, nullptr, f_.n, right.begin, right.end);
  const Span own = team.part(rank, f_.n, 1);
  for (int64_t i = own.begin; i < own.end; ++i) norms_[i] = T(squared_norm(f_, i));
}

template <class T>
TileRows<T> Distances<T>::rows_of_tile(int64_t index) const {
  const int64_t first = index * k_.tile;
  return {left_, first / k_.mr, std::min<int64_t>(k_.tile, f_.n - first), nullptr, first};
}

// into (+)= <r_i^a, r_j^b> (<h_i^a, h_j^b> + [bias])
template <class T>
void Distances<T>::products(const TileRows<T>& rows, int64_t j0, int64_t columns, int64_t a, int64_t b,
                            TileBuffers<T>& buffers, T* into, bool accumulate) const {
  const int64_t mr = k_.mr, nr = k_.nr, stride = k_.tile;
  const int64_t down = (rows.count + mr - 1) / mr, across = (columns + nr - 1) / nr;
  const T bias = T(f_.bias);
  int64_t depth = 0;
  do {  // once even when D = 0, which clears the sums
    const int64_t size = std::min(kDepth, f_.D - depth);
    for (int64_t j = 0; j < across; ++j) {
      const T* right = right_.feature(j0 / nr + j, b) + depth * nr;
      for (int64_t i = 0; i < down; ++i)
        k_.multiply(rows.panels.feature(rows.first_panel + i, a) + depth * mr, right, size,
                    buffers.hh.data() + i * mr * stride + j * nr, stride, depth > 0);
    }
    depth += kDepth;
  } while (depth < f_.D);
  for (int64_t j = 0; j < across; ++j)
    for (int64_t i = 0; i < down; ++i) {
      const T* left = rows.panels.residual(rows.first_panel + i, a);
      const T* right = right_.residual(j0 / nr + j, b);
      const int64_t at = i * mr * stride + j * nr;
      for (int64_t c = 0; c == 0 || c < f_.C; c += kDepth)
        k_.multiply(left + c * mr, right + c * nr, std::min(kDepth, f_.C - c), buffers.rr.data(), nr, c > 0);
      k_.combine(buffers.rr.data(), buffers.hh.data() + at, bias, into + at, mr, stride, accumulate);
    }
}

template <class T>
void Distances<T>::tile(const TileRows<T>& rows, int64_t j0, int64_t j1, TileBuffers<T>& buffers, T* out,
                        int64_t stride) const {
  for (int64_t a = 0; a < f_.R; ++a) products(rows, j0, j1 - j0, a, a, buffers, buffers.gram.data(), a > 0);
  // pairs of passes in an order that makes the sum the same for (i, j) and (j, i)
  bool first = true;
  for (int64_t a = 0; a < f_.R; ++a)
    for (int64_t b = a + 1; b < f_.R; ++b, first = false) {
      products(rows, j0, j1 - j0, a, b, buffers, buffers.above.data(), !first);
      products(rows, j0, j1 - j0, b, a, buffers, buffers.below.data(), !first);
    }
  if (!first)
    for (int64_t i = 0; i < rows.count; ++i)
      for (int64_t j = i * k_.tile; j < i * k_.tile + j1 - j0; ++j)
        buffers.gram[j] += buffers.above[j] + buffers.below[j];
  epilogue(rows, j0, j1, buffers, out, stride);
}

// d^2 = n_i + n_j - 2 <g_i, g_j> has lost its digits where the gradients nearly agree: those pairs are measured again
template <class T>
void Distances<T>::epilogue(const TileRows<T>& rows, int64_t j0, int64_t j1, const TileBuffers<T>& buffers, T* out,
                            int64_t stride) const {
  for (int64_t row = 0; row < rows.count; ++row, out += stride) {
    const int64_t i = rows.sample(row);
    const T* gram = buffers.gram.data() + row * k_.tile;
    if (!k_.distance_row(gram, norms_[i], norms_.data() + j0, j1 - j0, threshold_, squared_, out)) continue;
    for (int64_t j = j0; j < j1; ++j) {
      const T scale = norms_[i] + norms_[j];
      if (!(scale - T(2) * gram[j - j0] <= threshold_ * scale)) continue;
      const T exact = i == j || scale == T(0) ? T(0) : T(squared_norm_of_difference(f_, i, j));
      out[j - j0] = squared_ ? exact : std::sqrt(exact);
    }
  }
}

template <class T>
T Distances<T>::matrix(std::atomic<int64_t>& next, T* out) const {
  TileBuffers<T> buffers(k_.tile, f_.R);
  const int64_t n = f_.n;
  T largest = T(0);
  upper_tiles(next, buffers, [&](int64_t i0, int64_t i1, int64_t j0, int64_t j1, const T* d, int64_t stride) {
    for (int64_t i = i0; i < i1; ++i) {
      const T* row = d + (i - i0) * stride;
      for (int64_t j = 0; j < j1 - j0; ++j) largest = row[j] > largest ? row[j] : largest;
      std::memcpy(out + i * n + j0, row, sizeof(T) * (j1 - j0));
    }
    if (i0 == j0) return;
    constexpr int64_t kStrip = 16;
    for (int64_t s = i0; s < i1; s += kStrip)
      for (int64_t j = j0; j < j1; ++j)
        for (int64_t i = s; i < std::min(i1, s + kStrip); ++i) out[j * n + i] = d[(i - i0) * stride + j - j0];
  });
  return largest;
}

#define ACS_INSTANTIATE(T)                                                        \
  template double squared_norm(const Factors<T>&, int64_t);                       \
  template double squared_norm_of_difference(const Factors<T>&, int64_t, int64_t); \
  template class Panels<T>;                                                       \
  template struct TileBuffers<T>;                                                 \
  template class Distances<T>;
ACS_INSTANTIATE(float)
ACS_INSTANTIATE(double)

}  // namespace acs_fast
