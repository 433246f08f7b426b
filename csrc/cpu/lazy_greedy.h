// Exact greedy facility location without the whole matrix: gains only fall, so that most of them need not be known.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "distances.h"
#include "greedy.h"
#include "kept_tiles.h"

namespace acs_fast {

// The samples stand in the order of clusters and are cut into groups. The gain of candidate j is the sum of its parts
// sum_{i in g} max(current_i - q_ij, 0), each of them known as of some version of its group: together an upper bound,
// since levels only fall. Candidates whose bound reaches a threshold have their stale parts taken again, first those
// that are likely to have fallen most, until the bound is below the threshold or exact. The exact ones are active: they
// follow every pick, and the best of them is the next one. Where none reaches the threshold, it falls. Distances come
// from the tiles that fit in memory or else from the factors, with the same bits.
template <class T>
class LazyGreedy {
 public:
  // bytes: of memory for everything here; tiles are kept as far as they fit
  LazyGreedy(Team& team, Distances<T>& distances, double bytes, int64_t budget);
  // The largest distance, and the gains before the first pick
  void prepare();
  void run(int64_t budget, GreedyResult& result);

 private:
  static constexpr int64_t kGroups = 128;  // at most
  static constexpr double kFall = 0.93;    // of the threshold, in one step

  struct Touched {
    std::vector<int32_t> rows;
    std::vector<T> low, high;
    std::vector<int64_t> groups;
  };
  struct Task {
    int64_t group;
    Span candidates;  // of pending_
  };

  int64_t number(int64_t position) const { return distances_.factors().number(position); }
  int64_t tile_of(int64_t position) const { return position / size_; }
  int64_t group_of(int64_t position) const { return position / (size_ * per_group_); }
  int64_t begin_of(int64_t tile) const { return tile * size_; }
  int64_t rows_in(int64_t tile) const { return std::min(size_, n_ - tile * size_); }
  Span tiles_of(int64_t group) const { return {group * per_group_, std::min(tiles_, (group + 1) * per_group_)}; }
  int64_t& part(int64_t candidate, int64_t group) { return parts_[candidate * groups_ + group]; }
  int32_t& version(int64_t candidate, int64_t group) { return versions_[candidate * groups_ + group]; }
  int32_t newest(int64_t group) const { return int32_t(levels_[group].size()) - 1; }
  bool better(int64_t a, int64_t b) const {
    return bound_[a] != bound_[b] ? bound_[a] > bound_[b] : number(a) < number(b);
  }

  // lazy_greedy_first_gains.cpp
  T sum_columns();
  void compute_parts();
  void add_parts(int64_t a, int64_t b, int rank);
  void column_totals(const T* d, int64_t rows, int64_t columns, const T* high, uint64_t* totals) const;
  uint64_t owed(int64_t tile) const;

  // lazy_greedy.cpp
  void pick(int64_t position, int64_t step, GreedyResult& result);
  void read_column(int64_t position, const TileSide<T>& row, int64_t tile, int rank);
  void touch(int64_t tile, int64_t step, GreedyResult& result);
  void follow();
  void follow_tile(const TileSide<T>& rows, int64_t first, int64_t j0, int rank);

  int64_t best_active() const;
  const T* kept_row(int64_t position, int64_t tile, T* scratch) const;
  bool is_kept(int64_t position, int64_t tile) const { return kept_.has(std::min(tile_of(position), tile)); }

  // lazy_greedy_refresh.cpp
  bool lower_threshold();
  void refresh(std::vector<int32_t>& exact);
  int64_t stalest(int64_t candidate);
  std::vector<Task> tasks();
  void evaluate(const Task& task, int rank);

  Team& team_;
  Distances<T>& distances_;
  const Kernels<T>& k_;
  const int64_t n_, size_, tiles_, per_group_, groups_;  // a tile's rows; tiles in all and in a group
  KeptTiles<T> kept_;
  Quantiser quantiser_;
  std::vector<TileBuffers<T>> buffers_;          // of each member
  std::vector<std::vector<uint64_t>> totals_;    // of each member, [tile]
  std::vector<T> current_, column_, endless_;    // endless_ [tile]: levels above every distance
  std::vector<int64_t> bound_;                   // sums of parts; of a picked candidate -1
  std::vector<int64_t> parts_;                   // [n, groups]
  std::vector<int32_t> versions_;                // [n, groups]
  std::vector<int64_t> owed_;                    // of each group, the sum of its levels as integers
  std::vector<std::vector<float>> levels_;       // the same by version
  std::vector<int32_t> active_, pending_;        // positions
  std::vector<int64_t> wanted_;                  // of each pending candidate, the group to take again
  std::vector<char> is_active_;                  // by position
  Panels<T> pick_panels_, touched_panels_, active_panels_;
  int64_t threshold_ = std::numeric_limits<int64_t>::max();
  Touched touched_;
  double room_for_active_;  // bytes of panels that are allowed for
};

}  // namespace acs_fast
