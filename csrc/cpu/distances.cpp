#include "distances.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace acs_fast {
namespace {

constexpr int64_t kDepth = 128;  // of the products that stay in a register tile before they join the sum

template <class T>
bool equal_factors(const Factors<T>& f, int64_t i, const Factors<T>& g, int64_t j) {
  return std::memcmp(f.residual(i, 0), g.residual(j, 0), sizeof(T) * f.R * f.C) == 0 &&
         std::memcmp(f.feature(i, 0), g.feature(j, 0), sizeof(T) * f.R * f.D) == 0;
}

}  // namespace

// g_i - g_j = sum_a (r_i^a - r_j^a) (x) (h_i^a, [1]) + r_j^a (x) (h_i^a - h_j^a, [0])
template <class T>
double squared_norm_of_difference(const Factors<T>& f, int64_t i, const Factors<T>& g, int64_t j) {
  if (f.number(i) > g.number(j)) return squared_norm_of_difference(g, j, f, i);
  if (equal_factors(f, i, g, j)) return 0.0;
  const auto dot = kernels<T>().dot_differences;
  double sum = 0.0;
  for (int64_t a = 0; a < f.R; ++a)
    for (int64_t b = 0; b < f.R; ++b) {
      const T *ria = f.residual(i, a), *rja = g.residual(j, a), *hia = f.feature(i, a), *hja = g.feature(j, a);
      const T *rib = f.residual(i, b), *rjb = g.residual(j, b), *hib = f.feature(i, b), *hjb = g.feature(j, b);
      sum += dot(ria, rja, rib, rjb, f.C) * (dot(hia, nullptr, hib, nullptr, f.D) + double(f.bias));
      sum += 2.0 * dot(ria, rja, rjb, nullptr, f.C) * dot(hia, nullptr, hib, hjb, f.D);
      sum += dot(rja, nullptr, rjb, nullptr, f.C) * dot(hia, hja, hib, hjb, f.D);
    }
  return sum > 0.0 ? sum : 0.0;
}

template <class T>
TileBuffers<T>::TileBuffers(const Factors<T>& f, int mr, int tile)
    : gram(size_t(tile) * tile),
      pp(size_t(tile) * tile),
      qq(size_t(tile) * tile),
      d(size_t(tile) * tile),
      rows(f, mr, tile) {
  if (f.R > 1) above = Buffer<T>(size_t(tile) * tile), below = Buffer<T>(size_t(tile) * tile);
}

template <class T>
double bytes_beside_matrix(const Factors<T>& f, int threads, int64_t budget) {
  constexpr double kThread = double(1 << 18);  // a thread's stack and its share of the heap
  const int64_t tile = kernels<T>().tile;
  const double by_sample = double((7 + threads) * int64_t(sizeof(int64_t)) + 3 * int64_t(sizeof(T)));
  const double scratch = double(tile) * (double(tile * (f.R > 1 ? 6 : 4)) * sizeof(T) + bytes_packed(f));
  const double by_pick = 5.0 * double(sizeof(int64_t));
  return rounded_up(double(f.n) * bytes_packed(f)) + double(f.n) * by_sample + double(budget) * by_pick +
         double(threads) * (scratch + kThread);
}

template <class T>
Distances<T>::Distances(const Factors<T>& factors, bool squared)
    : f_(factors),
      k_(kernels<T>()),
      squared_(squared),
      centred_(factors),
      packed_(factors, k_.nr, factors.n),
      mm_(factors.R * factors.R),
      kk_(factors.R * factors.R) {}

template <class T>
void Distances<T>::prepare(Team& team, int rank) {
  centred_.prepare(team, rank);
  team.wait();
  if (rank == 0) multiply_means();
  pack(team, rank);
}

template <class T>
void Distances<T>::prepare_columns(const double* means, Team& team, int rank) {
  if (rank == 0) {
    centred_.set_means(means);
    multiply_means();
  }
  team.wait();
  pack(team, rank);
}

template <class T>
void Distances<T>::pack(Team& team, int rank) {
  const Span own = team.part(rank, packed_.panels(f_.n), 1);
  packed_.pack(centred_, nullptr, f_.n, own.begin, own.end);
  team.wait();
}

template <class T>
void Distances<T>::reorder(const std::vector<int32_t>& order) {
  std::vector<int64_t> members(f_.n), numbers(f_.n);
  for (int64_t i = 0; i < f_.n; ++i) members[i] = f_.members[order[i]], numbers[i] = f_.number(order[i]);
  members_ = std::move(members), numbers_ = std::move(numbers);
  f_.members = members_.data(), f_.numbers = numbers_.data();
  centred_.set_factors(f_);
}

template <class T>
void Distances<T>::multiply_means() {
  const auto dot = kernels<double>().dot;
  for (int64_t a = 0; a < f_.R; ++a)
    for (int64_t b = 0; b < f_.R; ++b) {
      mm_[a * f_.R + b] = T(dot(centred_.residual_mean(a), centred_.residual_mean(b), f_.C));
      kk_[a * f_.R + b] = T(dot(centred_.feature_mean(a), centred_.feature_mean(b), f_.D) + f_.bias);
    }
}

template <class T>
TileSide<T> Distances<T>::open(Panels<T>& panels, const int32_t* samples, int64_t first, int64_t count) const {
  panels.repack(centred_, packed_, samples, first, count);
  return {f_, panels, count, samples, first};
}

template <class T>
TileSide<T> Distances<T>::open_rows(TileBuffers<T>& buffers, int64_t first, int64_t count) const {
  if (buffers.open != first) open(buffers.rows, nullptr, first, count);
  buffers.open = first;
  return {f_, buffers.rows, count, nullptr, first};
}

// into (+)= the part of passes a and b in the inner products of the moved gradients
template <class T>
void Distances<T>::products(const TileSide<T>& rows, const TileSide<T>& columns, int64_t j0, int64_t count, int64_t a,
                            int64_t b, TileBuffers<T>& buffers, T* into, bool accumulate) const {
  const int64_t mr = k_.mr, nr = k_.nr, stride = k_.tile;
  const int64_t down = (rows.count + mr - 1) / mr, across = (count + nr - 1) / nr;
  int64_t depth = 0;
  do {  // once even when D = 0, which clears the sums
    const int64_t size = std::min(kDepth, f_.D - depth);
    for (int64_t j = 0; j < across; ++j) {
      const T* right = columns.panels.p(j0 / nr + j, b) + depth * nr;
      for (int64_t i = 0; i < down; ++i)
        k_.multiply(rows.panels.p(i, a) + depth * mr, right, size, std::min(mr, rows.count - i * mr),
                    buffers.pp.data() + i * mr * stride + j * nr, stride, depth > 0);
    }
    depth += kDepth;
  } while (depth < f_.D);
  const T mm = mm_[a * f_.R + b], kk = kk_[a * f_.R + b];
  for (int64_t j = 0; j < across; ++j)
    for (int64_t i = 0; i < down; ++i) {
      const T *left = rows.panels.q(i, a), *right = columns.panels.q(j0 / nr + j, b);
      const int64_t height = std::min(mr, rows.count - i * mr);
      for (int64_t c = 0; c == 0 || c < f_.C; c += kDepth)
        k_.multiply(left + c * mr, right + c * nr, std::min(kDepth, f_.C - c), height, buffers.qq.data(), nr, c > 0);
      const int64_t at = i * mr * stride + j * nr;
      k_.combine(buffers.qq.data(), buffers.pp.data() + at, rows.panels.cross(a, b, i * mr),
                 columns.panels.cross(b, a, j0 + j * nr), mm, kk, height, into + at, stride, accumulate);
    }
}

template <class T>
T Distances<T>::tile(const TileSide<T>& rows, const TileSide<T>& columns, int64_t j0, int64_t j1,
                     TileBuffers<T>& buffers, T* out, int64_t stride) const {
  if (f_.R == 0) std::fill_n(buffers.gram.data(), k_.tile * k_.tile, T(0));  // no pass, no product
  for (int64_t a = 0; a < f_.R; ++a) products(rows, columns, j0, j1 - j0, a, a, buffers, buffers.gram.data(), a > 0);
  // pairs of passes in an order that makes the sum the same for (i, j) and (j, i)
  bool first = true;
  for (int64_t a = 0; a < f_.R; ++a)
    for (int64_t b = a + 1; b < f_.R; ++b, first = false) {
      products(rows, columns, j0, j1 - j0, a, b, buffers, buffers.above.data(), !first);
      products(rows, columns, j0, j1 - j0, b, a, buffers, buffers.below.data(), !first);
    }
  if (!first)
    for (int64_t i = 0; i < rows.count; ++i)
      for (int64_t j = i * k_.tile; j < i * k_.tile + j1 - j0; ++j)
        buffers.gram[j] += buffers.above[j] + buffers.below[j];
  return epilogue(rows, columns, j0, j1, buffers, out, stride);
}

// d^2 = n_i + n_j - 2 <g_i, g_j> has lost its digits where the gradients nearly agree: those pairs are measured again
template <class T>
T Distances<T>::epilogue(const TileSide<T>& rows, const TileSide<T>& columns, int64_t j0, int64_t j1,
                         const TileBuffers<T>& buffers, T* out, int64_t stride) const {
  const T *own = rows.panels.norms(), *norms = columns.panels.norms();
  const T *own_limits = rows.panels.limits(), *limits = columns.panels.limits();
  T largest = T(0);
  for (int64_t row = 0; row < rows.count; ++row, out += stride) {
    const int64_t i = rows.sample(row);
    const T* gram = buffers.gram.data() + row * k_.tile;
    RowSummary<T> summary = k_.distance_row(gram, own[row], norms + j0, own_limits[row], limits + j0, j1 - j0, squared_, out);
    if (summary.close) {
      summary.largest = T(0);
      for (int64_t j = j0; j < j1; ++j) {
        const T scale = own[row] + norms[j];
        if (scale - T(2) * gram[j - j0] <= own_limits[row] + limits[j]) {
          const int64_t other = columns.sample(j);
          const bool same = rows.factors.number(i) == columns.factors.number(other) || scale == T(0);
          const T exact = same ? T(0) : T(squared_norm_of_difference(rows.factors, i, columns.factors, other));
          out[j - j0] = squared_ ? exact : std::sqrt(exact);
        }
        summary.largest = std::max(summary.largest, out[j - j0]);
      }
    }
    largest = std::max(largest, summary.largest);
  }
  return largest;
}

template <class T>
T Distances<T>::matrix(std::atomic<int64_t>& next, T* out) const {
  TileBuffers<T> buffers = this->buffers();
  const int64_t n = f_.n;
  T top = T(0);
  const auto write = [&](int64_t i0, int64_t i1, int64_t j0, int64_t j1, const T* d, int64_t stride, T largest) {
    top = std::max(top, largest);
    for (int64_t i = i0; i < i1; ++i) std::memcpy(out + i * n + j0, d + (i - i0) * stride, sizeof(T) * (j1 - j0));
    if (i0 != j0) k_.transpose(d, stride, i1 - i0, j1 - j0, out + j0 * n + i0, n);
  };
  upper_tiles(next, buffers, write);
  return top;
}

#define ACS_INSTANTIATE(T)                                                                            \
  template double squared_norm_of_difference(const Factors<T>&, int64_t, const Factors<T>&, int64_t); \
  template double bytes_beside_matrix(const Factors<T>&, int, int64_t);                               \
  template struct TileBuffers<T>;                                                                     \
  template class Distances<T>;
ACS_INSTANTIATE(float)
ACS_INSTANTIATE(double)

}  // namespace acs_fast
