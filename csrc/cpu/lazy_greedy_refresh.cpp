// The lazy greedy between picks: candidates whose parts are taken again until they are exact or out of reach.
#include <algorithm>
#include <numeric>

#include "lazy_greedy.h"

namespace acs_fast {

// The next threshold with the candidates that reach it; false where no candidate has a gain left
template <class T>
bool LazyGreedy<T>::lower_threshold() {
  const int64_t top = *std::max_element(bound_.begin(), bound_.end());
  if (top <= 0) return false;
  threshold_ = int64_t(kFall * double(std::min(threshold_, top)));
  std::vector<int32_t> exact;
  for (const int32_t j : active_)
    if (bound_[j] >= threshold_) exact.push_back(j);
  for (int64_t j = 0; j < n_; ++j)
    if (!is_active_[j] && bound_[j] >= threshold_) pending_.push_back(int32_t(j));
  refresh(exact);
  for (const int32_t j : active_) is_active_[j] = 0;
  active_ = std::move(exact);
  for (const int32_t j : active_) is_active_[j] = 1;
  active_panels_ = distances_.columns(0);
  if (const double wanted = double(active_.size()) * bytes_packed(distances_.factors()); wanted > room_for_active_) {
    kept_.give_back(wanted - room_for_active_);
    room_for_active_ = wanted;
  }
  active_panels_ = distances_.columns(int64_t(active_.size()));
  distances_.open(active_panels_, active_.data(), 0, int64_t(active_.size()));
  return true;
}

// Takes stale parts of the pending candidates again, one of each at a time; those that reach the threshold with no stale
// part left are appended to `exact`
template <class T>
void LazyGreedy<T>::refresh(std::vector<int32_t>& exact) {
  while (true) {
    size_t kept = 0;
    wanted_.resize(pending_.size());
    for (const int32_t j : pending_) {
      if (bound_[j] < threshold_) continue;
      const int64_t group = stalest(j);
      if (group < 0) {
        exact.push_back(j);
        continue;
      }
      wanted_[kept] = group;
      pending_[kept++] = j;
    }
    pending_.resize(kept);
    if (kept == 0) return;
    const std::vector<Task> list = tasks();
    team_.share(int64_t(list.size()), [&](int64_t t, int rank) { evaluate(list[t], rank); });
  }
}

// The group of whose part most is likely to be gone, by how far the levels there have fallen; -1 where all are fresh
template <class T>
int64_t LazyGreedy<T>::stalest(int64_t candidate) {
  int64_t group = -1;
  float most = -1.0f;
  for (int64_t g = 0; g < groups_; ++g) {
    int32_t& as_of = version(candidate, g);
    if (as_of == newest(g)) continue;
    if (part(candidate, g) == 0) {  // nothing can be gone
      as_of = newest(g);
      continue;
    }
    const float gone = float(part(candidate, g)) * (1.0f - levels_[g].back() / levels_[g][as_of]);
    if (gone > most) most = gone, group = g;
  }
  return group;
}

// The pending candidates sorted by the groups that they want, in portions of at most a tile
template <class T>
std::vector<typename LazyGreedy<T>::Task> LazyGreedy<T>::tasks() {
  std::vector<int64_t> begins(groups_ + 1, 0);
  for (size_t p = 0; p < pending_.size(); ++p) ++begins[wanted_[p] + 1];
  std::partial_sum(begins.begin(), begins.end(), begins.begin());
  std::vector<int32_t> sorted(pending_.size());
  std::vector<int64_t> at(begins.begin(), begins.end() - 1);
  for (size_t p = 0; p < pending_.size(); ++p) sorted[at[wanted_[p]]++] = pending_[p];
  pending_ = std::move(sorted);
  std::vector<Task> list;
  for (int64_t g = 0; g < groups_; ++g)
    for (int64_t c = begins[g]; c < begins[g + 1]; c += size_)
      list.push_back({g, {c, std::min(begins[g + 1], c + size_)}});
  return list;
}

template <class T>
void LazyGreedy<T>::evaluate(const Task& task, int rank) {
  TileBuffers<T>& own = buffers_[rank];
  int32_t *const begin = pending_.data() + task.candidates.begin, *const end = pending_.data() + task.candidates.end;
  // those first that have tiles beside the kept ones
  const int64_t count = std::partition(begin, end, [&](int32_t j) { return !kept_.has(tile_of(j)); }) - begin;
  const Span tiles = tiles_of(task.group);
  own.open = -1;
  const bool computes = count > 0 && !kept_.has(tiles.end - 1);
  const TileSide<T> rows = distances_.open(own.rows, begin, 0, computes ? count : 0);
  std::vector<uint64_t> totals(end - begin, 0);
  int64_t samples = 0;
  for (int64_t tile = tiles.begin; tile < tiles.end; ++tile) {
    const int64_t j0 = begin_of(tile), width = rows_in(tile);
    const int64_t computed = kept_.has(tile) ? 0 : count;
    if (computed > 0) distances_.tile(rows, distances_.all(), j0, j0 + width, own, own.d.data(), size_);
    for (int64_t c = 0; c < end - begin; ++c) {
      const T* d = c < computed ? own.d.data() + c * size_ : kept_row(begin[c], tile, own.gram.data());
      totals[c] += k_.clamp_total(d, current_.data() + j0, width, quantiser_.scale);
    }
    samples += width;
  }
  const uint64_t all = uint64_t(owed_[task.group]) + uint64_t(samples) * kRoundingMagicBits;
  for (int64_t c = 0; c < end - begin; ++c) {
    const int64_t value = int64_t(all - totals[c]);
    bound_[begin[c]] += value - part(begin[c], task.group);
    part(begin[c], task.group) = value;
    version(begin[c], task.group) = newest(task.group);
  }
}

template class LazyGreedy<float>;
template class LazyGreedy<double>;

}  // namespace acs_fast
