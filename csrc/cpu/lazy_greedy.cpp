#include "lazy_greedy.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace acs_fast {
namespace {

// visit(row, column) for the pairs row <= column < count that this thread takes off the counter
template <class Visit>
void upper_pairs(std::atomic<int64_t>& next, int64_t count, const Visit& visit) {
  int64_t row = 0, before = 0;
  for (int64_t t = next.fetch_add(1); t < count * (count + 1) / 2; t = next.fetch_add(1)) {
    for (; t >= before + (count - row); ++row) before += count - row;
    visit(row, row + t - before);
  }
}

// Parts of gains with their versions, and the packed factors
template <class T>
double bytes_beside_tiles(const Factors<T>& f, int64_t groups) {
  const int64_t parts = groups * int64_t(sizeof(int64_t) + sizeof(int32_t)), factors = f.R * (f.C + f.D) * int64_t(sizeof(T));
  return double(f.n) * double(parts + factors);
}

}  // namespace

template <class T>
LazyGreedy<T>::LazyGreedy(Team& team, Distances<T>& distances, double bytes)
    : team_(team),
      distances_(distances),
      k_(kernels<T>()),
      n_(distances.n()),
      size_(distances.tile_size()),
      tiles_(distances.tiles()),
      per_group_((tiles_ + kGroups - 1) / kGroups),
      groups_((tiles_ + per_group_ - 1) / per_group_),
      kept_(tiles_, size_, bytes - bytes_beside_tiles(distances.factors(), groups_)),
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
      active_panels_(distances.columns(0)) {
  for (int m = 0; m < team.size(); ++m) buffers_.push_back(distances.buffers());
}

// The centres along a path that goes on to the nearest one left, so that neighbours in it are alike
template <class T>
std::vector<int32_t> LazyGreedy<T>::path(const std::vector<int32_t>& centres, const TileSide<T>& side) {
  const int64_t count = int64_t(centres.size());
  Panels<T> panels = distances_.columns(count);
  const TileSide<T> columns = distances_.open(panels, centres.data(), 0, count);
  TileBuffers<T>& own = buffers_[0];
  distances_.tile(side, columns, 0, count, own, own.d.data(), size_);
  std::vector<int32_t> place(count, -1);
  for (int64_t at = 0, step = 0; step < count; ++step) {
    place[at] = int32_t(step);
    int64_t next = -1;
    for (int64_t c = 0; c < count; ++c)
      if (place[c] < 0 && (next < 0 || own.d[at * size_ + c] < own.d[at * size_ + next])) next = c;
    at = next;
  }
  return place;
}

// Puts the samples in the order of the nearest of some centres; returns the largest distance to one
template <class T>
T LazyGreedy<T>::cluster() {
  const int64_t count = std::min(size_, n_);
  std::vector<int32_t> centres(count), nearest(n_), order(n_);
  for (int64_t c = 0; c < count; ++c) centres[c] = int32_t(c * n_ / count);
  std::vector<T> largest(team_.size(), T(0));
  const auto assign = [&](const TileSide<T>& side, int64_t tile, int rank) {
    TileBuffers<T>& own = buffers_[rank];
    const int64_t j0 = begin_of(tile), width = rows_in(tile);
    const T top = distances_.tile(side, distances_.all(), j0, j0 + width, own, own.d.data(), size_);
    largest[rank] = std::max(largest[rank], top);
    for (int64_t c = 0; c < count; ++c)
      for (int64_t j = 0; j < width; ++j)
        if (own.d[c * size_ + j] < own.d[nearest[j0 + j] * size_ + j]) nearest[j0 + j] = int32_t(c);
  };
  team_.run([&](int rank) { distances_.prepare(team_, rank); });
  std::vector<int32_t> place;
  team_.lead([&] {
    const TileSide<T> side = distances_.open(touched_panels_, centres.data(), 0, count);
    place = path(centres, side);
    team_.share(tiles_, [&](int64_t tile, int rank) { assign(side, tile, rank); });
  });
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return place[nearest[a]] < place[nearest[b]]; });
  distances_.reorder(order);
  team_.run([&](int rank) { distances_.pack(team_, rank); });
  return *std::max_element(largest.begin(), largest.end());
}

// The scale of the integers depends on the exponent of the largest distance only, which the centres mostly tell
template <class T>
void LazyGreedy<T>::prepare() {
  quantiser_ = Quantiser(double(cluster()), n_);
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
    distances_.tile(distances_.open_tile(own, a), distances_.all(), j0, j0 + columns, own, own.d.data(), size_);
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
