// The lazy greedy before its picks: what every candidate gains, in parts by group.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "cluster_order.h"
#include "lazy_greedy.h"

namespace acs_fast {

// The scale of the integers depends on the exponent of the largest distance only, which the centres mostly tell
template <class T>
void LazyGreedy<T>::prepare() {
  quantiser_ = Quantiser(double(order_by_clusters(team_, distances_, buffers_)), n_);
  T top = sum_columns();
  if (const Quantiser right(double(top), n_); right.scale != quantiser_.scale) {
    quantiser_ = right;
    top = sum_columns();
  }
  current_.assign(n_, top);
  for (int64_t tile = 0; tile < tiles_; ++tile) owed_[tile / per_group_] += int64_t(owed(tile));
  for (int64_t& sum : bound_) sum = n_ * quantiser_(top) - sum;
}

// bound_ = sums of the columns as integers; returns the largest distance. Tiles that have room are kept.
template <class T>
T LazyGreedy<T>::sum_columns() {
  std::vector<std::vector<uint64_t>> sums(team_.size(), std::vector<uint64_t>(n_, 0));
  std::vector<T> largest(team_.size(), T(0));
  std::atomic<int64_t> next{0};
  team_.run([&](int rank) {
    uint64_t *totals = totals_[rank].data(), *own = sums[rank].data();
    const auto visit = [&](int64_t i0, int64_t i1, int64_t j0, int64_t j1, const T* d, int64_t, T top) {
      largest[rank] = std::max(largest[rank], top);
      const int64_t a = tile_of(i0), b = tile_of(j0);
      if (kept_.has(a)) std::memcpy(kept_.at(a, b), d, sizeof(T) * size_ * (i1 - i0));
      column_totals(d, i1 - i0, j1 - j0, endless_.data(), totals);
      for (int64_t j = j0; j < j1; ++j) own[j] += totals[j - j0];
      for (int64_t i = i0; a != b && i < i1; ++i)
        own[i] += k_.clamp_total(d + (i - i0) * size_, endless_.data(), j1 - j0, quantiser_.scale);
    };
    distances_.upper_tiles(next, buffers_[rank], visit);
  });
  for (int64_t j = 0; j < n_; ++j) {
    uint64_t sum = 0;
    for (const auto& own : sums) sum += own[j];
    bound_[j] = int64_t(sum - uint64_t(n_) * kRoundingMagicBits);
  }
  return *std::max_element(largest.begin(), largest.end());
}

// totals[j] = sum_i bits(min(d_ij, high_i))
template <class T>
void LazyGreedy<T>::column_totals(const T* d, int64_t rows, int64_t columns, const T* high, uint64_t* totals) const {
  const T low[kRowsAtOnce] = {};
  const T* at[kRowsAtOnce];
  std::fill_n(totals, columns, 0);
  for (int64_t i = 0; i < rows; i += kRowsAtOnce) {
    const int count = int(std::min<int64_t>(kRowsAtOnce, rows - i));
    for (int r = 0; r < count; ++r) at[r] = d + (i + r) * size_;
    k_.clamp_sum(totals, at, low, high + i, count, 0, columns, quantiser_.scale, 0);
  }
}

template <class T>
uint64_t LazyGreedy<T>::owed(int64_t tile) const {
  uint64_t sum = 0;
  for (int64_t i = begin_of(tile); i < begin_of(tile) + rows_in(tile); ++i) sum += uint64_t(quantiser_(current_[i]));
  return sum;
}

// All parts of all candidates: each pair of groups belongs to one thread
template <class T>
void LazyGreedy<T>::compute_parts() {
  parts_.assign(size_t(n_) * groups_, 0);
  versions_.assign(size_t(n_) * groups_, 0);
  std::atomic<int64_t> next{0};
  team_.run([&](int rank) {
    upper_pairs(next, groups_, [&](int64_t ga, int64_t gb) {
      const Span rows = tiles_of(ga), columns = tiles_of(gb);
      for (int64_t a = rows.begin; a < rows.end; ++a)
        for (int64_t b = std::max(a, columns.begin); b < columns.end; ++b) add_parts(a, b, rank);
    });
  });
  for (int64_t j = 0; j < n_; ++j)
    if (bound_[j] >= 0) bound_[j] = std::accumulate(&part(j, 0), &part(j, 0) + groups_, int64_t(0));
  for (int64_t g = 0; g < groups_; ++g) levels_[g] = {float(owed_[g])};
}

template <class T>
void LazyGreedy<T>::add_parts(int64_t a, int64_t b, int rank) {
  TileBuffers<T>& own = buffers_[rank];
  const int64_t i0 = begin_of(a), j0 = begin_of(b), rows = rows_in(a), columns = rows_in(b);
  const T* d = own.d.data();
  if (kept_.has(a))
    d = kept_.at(a, b);
  else
    distances_.tile(distances_.open_rows(own, i0, rows), distances_.all(), j0, j0 + columns, own, own.d.data(), size_);
  column_totals(d, rows, columns, current_.data() + i0, totals_[rank].data());
  const uint64_t of_rows = owed(a) + uint64_t(rows) * kRoundingMagicBits;
  for (int64_t j = 0; j < columns; ++j) part(j0 + j, a / per_group_) += int64_t(of_rows - totals_[rank][j]);
  if (a == b) return;
  const uint64_t of_columns = owed(b) + uint64_t(columns) * kRoundingMagicBits;
  for (int64_t i = 0; i < rows; ++i) {
    const uint64_t total = k_.clamp_total(d + i * size_, current_.data() + j0, columns, quantiser_.scale);
    part(i0 + i, b / per_group_) += int64_t(of_columns - total);
  }
}

template class LazyGreedy<float>;
template class LazyGreedy<double>;

}  // namespace acs_fast
