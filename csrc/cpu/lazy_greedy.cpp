#include "lazy_greedy.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace acs_fast {
namespace {

constexpr double kActive = 8.0;  // tiles of active candidates that are allowed for

// Everything but kept tiles at its largest, in `bytes_beside_matrix` what both ways share
template <class T>
double bytes_beside_tiles(const Factors<T>& f, int64_t groups, int64_t size, int threads, int64_t budget) {
  constexpr double kVector = 3.0;  // of a growing vector, whose old memory is there while it is copied
  const double parts = double(groups) * double(sizeof(int64_t) + sizeof(int32_t));
  const double listed = kVector * double(7 * sizeof(int32_t) + 2 * sizeof(T)) + 4.0 * double(sizeof(int64_t));
  const double levels = kVector * double(groups) * double(sizeof(float));
  return bytes_beside_matrix(f, threads, budget) + double(f.n) * (parts + listed) + double(budget) * levels +
         (kActive + 3.0) * double(size) * bytes_packed(f) + 2.0 * double(kHugePage);
}

}  // namespace

template <class T>
LazyGreedy<T>::LazyGreedy(Team& team, Distances<T>& distances, double bytes, int64_t budget)
    : team_(team),
      distances_(distances),
      k_(kernels<T>()),
      n_(distances.n()),
      size_(distances.tile_size()),
      tiles_(distances.tiles()),
      per_group_((tiles_ + kGroups - 1) / kGroups),
      groups_((tiles_ + per_group_ - 1) / per_group_),
      kept_(tiles_, size_, bytes - bytes_beside_tiles(distances.factors(), groups_, size_, team.size(), budget)),
      quantiser_(0.0, n_),
      totals_(team.size(), std::vector<uint64_t>(size_)),
      column_(n_),
      endless_(size_, std::numeric_limits<T>::infinity()),
      bound_(n_),
      owed_(groups_, 0),
      levels_(groups_),
      is_active_(n_, 0),
      pick_panels_(distances.rows(1)),
      touched_panels_(distances.rows(size_)),
      active_panels_(distances.columns(0)),
      room_for_active_(kActive * double(size_) * bytes_packed(distances.factors())) {
  for (int m = 0; m < team.size(); ++m) buffers_.push_back(distances.buffers());
}

template <class T>
void LazyGreedy<T>::run(int64_t budget, GreedyResult& result) {
  int64_t step = 0;
  if (budget > 0) {
    int64_t first = 0;
    for (int64_t j = 1; j < n_; ++j) first = better(j, first) ? j : first;
    team_.lead([&] { pick(first, step++, result); });
    compute_parts();
  }
  team_.lead([&] {
    while (step < budget) {
      const int64_t best = best_active();
      if (best >= 0 && bound_[best] >= threshold_) {
        pick(best, step++, result);
        follow();
      } else if (!lower_threshold()) {
        break;
      }
    }
  });
  std::vector<int64_t> rest;  // without any gain, in their own order
  for (int64_t j = 0; step < budget && j < n_; ++j)
    if (bound_[j] >= 0) rest.push_back(number(j));
  std::sort(rest.begin(), rest.end());
  for (size_t r = 0; step < budget; ++r, ++step) result.indices[step] = rest[r], result.gains[step] = 0.0;
  const int64_t sum = std::accumulate(owed_.begin(), owed_.end(), int64_t(0));
  result.objective = double(sum) * quantiser_.unit;
}

// Samples that the pick serves for less pay less from now on; they lie in groups of which it had a part
template <class T>
void LazyGreedy<T>::pick(int64_t position, int64_t step, GreedyResult& result) {
  result.indices[step] = number(position);
  result.gains[step] = double(bound_[position]) * quantiser_.unit;
  std::vector<int64_t> tiles;
  for (int64_t tile = 0; tile < tiles_; ++tile)
    if (step == 0 || part(position, tile / per_group_) > 0) tiles.push_back(tile);
  const int32_t sample = int32_t(position);
  const TileSide<T> row = distances_.open(pick_panels_, &sample, 0, 1);
  team_.share(int64_t(tiles.size()), [&](int64_t t, int rank) { read_column(position, row, tiles[t], rank); });
  touched_ = {};
  for (const int64_t tile : tiles) touch(tile, step, result);
  for (const int64_t g : touched_.groups) levels_[g].push_back(float(owed_[g]));
  bound_[position] = -1;
  threshold_ = std::max<int64_t>(threshold_, 0);
}

template <class T>
void LazyGreedy<T>::read_column(int64_t position, const TileSide<T>& row, int64_t tile, int rank) {
  const int64_t begin = begin_of(tile), count = rows_in(tile);
  T* out = column_.data() + begin;
  if (is_kept(position, tile))
    std::memcpy(out, kept_row(position, tile, buffers_[rank].d.data()), sizeof(T) * count);
  else
    distances_.tile(row, distances_.all(), begin, begin + count, buffers_[rank], out, size_);
}

template <class T>
void LazyGreedy<T>::touch(int64_t tile, int64_t step, GreedyResult& result) {
  const int64_t begin = begin_of(tile), group = tile / per_group_;
  std::vector<int32_t> lower(rows_in(tile) + 2 * kSpanStep);
  lower.resize(k_.find_lower(column_.data() + begin, current_.data() + begin, rows_in(tile), lower.data()));
  for (const int32_t offset : lower) {
    const int64_t i = begin + offset, fall = quantiser_(current_[i]) - quantiser_(column_[i]);
    if (fall == 0) continue;
    touched_.rows.push_back(int32_t(i));
    touched_.low.push_back(column_[i]);
    touched_.high.push_back(current_[i]);
    if (touched_.groups.empty() || touched_.groups.back() != group) touched_.groups.push_back(group);
    result.assignment[number(i)] = step;
    current_[i] = column_[i];
    owed_[group] -= fall;
  }
}

// The active candidates lose what the newest pick takes from them, and stay exact
template <class T>
void LazyGreedy<T>::follow() {
  const int64_t parts = (int64_t(active_.size()) + size_ - 1) / size_;
  for (int64_t first = 0; first < int64_t(touched_.rows.size()); first += size_) {
    const int64_t count = std::min(size_, int64_t(touched_.rows.size()) - first);
    const TileSide<T> rows = distances_.open(touched_panels_, touched_.rows.data() + first, 0, count);
    team_.share(parts, [&](int64_t p, int rank) { follow_tile(rows, first, p * size_, rank); });
  }
  for (const int32_t j : active_)
    for (const int64_t g : touched_.groups) version(j, g) = newest(g);
}

template <class T>
void LazyGreedy<T>::follow_tile(const TileSide<T>& rows, int64_t first, int64_t j0, int rank) {
  const int64_t j1 = std::min(int64_t(active_.size()), j0 + size_);
  const TileSide<T> columns{distances_.factors(), active_panels_, int64_t(active_.size()), active_.data(), 0};
  const T* d = buffers_[rank].d.data();
  distances_.tile(rows, columns, j0, j1, buffers_[rank], buffers_[rank].d.data(), size_);
  uint64_t* losses = totals_[rank].data();
  for (int64_t begin = 0, end; begin < rows.count; begin = end) {
    const int64_t group = group_of(rows.samples[begin]);
    for (end = begin; end < rows.count && group_of(rows.samples[end]) == group;) ++end;
    std::fill_n(losses, j1 - j0, 0);
    for (int64_t i = begin; i < end; i += kRowsAtOnce) {
      const int count = int(std::min<int64_t>(kRowsAtOnce, end - i));
      const T *at[kRowsAtOnce], *high = touched_.high.data() + first + i;
      uint64_t offset = 0;
      for (int r = 0; r < count; ++r) {
        at[r] = d + (i + r) * size_;
        offset -= kRoundingMagicBits + uint64_t(quantiser_(high[r]));
      }
      k_.clamp_sum(losses, at, touched_.low.data() + first + i, high, count, 0, j1 - j0, quantiser_.scale, offset);
    }
    for (int64_t j = j0; j < j1; ++j) {
      part(active_[j], group) += int64_t(losses[j - j0]);
      if (bound_[active_[j]] >= 0) bound_[active_[j]] += int64_t(losses[j - j0]);
    }
  }
}

template <class T>
int64_t LazyGreedy<T>::best_active() const {
  int64_t best = -1;
  for (const int32_t j : active_)
    if (bound_[j] >= 0 && (best < 0 || better(j, best))) best = j;
  return best;
}

// Distances from a sample to those of a tile, read along a row of the kept tile or gathered from a column of it
template <class T>
const T* LazyGreedy<T>::kept_row(int64_t position, int64_t tile, T* scratch) const {
  const int64_t own = tile_of(position), at = position - begin_of(own);
  if (own <= tile) return kept_.at(own, tile) + at * size_;
  const T* column = kept_.at(tile, own) + at;
  for (int64_t i = 0; i < rows_in(tile); ++i) scratch[i] = column[i * size_];
  return scratch;
}

template class LazyGreedy<float>;
template class LazyGreedy<double>;

}  // namespace acs_fast
