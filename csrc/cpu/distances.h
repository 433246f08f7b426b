// Distances between factored gradients, one tile at a time: two small matrix products and their epilogue.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "kernels.h"
#include "team.h"

namespace acs_fast {

// n samples, `members` of those in contiguous residuals [., R, C] and features [., R, D]; R head passes.
template <class T>
struct Factors {
  const T* residuals;
  const T* features;
  const int64_t* members;  // [n]
  int64_t n, R, C, D;
  bool bias;
  const int64_t* numbers = nullptr;  // [n] that decide which of a pair comes first; null for the positions

  int64_t number(int64_t i) const { return numbers ? numbers[i] : i; }
  const T* residual(int64_t i, int64_t pass) const { return residuals + (members[i] * R + pass) * C; }
  const T* feature(int64_t i, int64_t pass) const { return features + (members[i] * R + pass) * D; }
};

// ||g_i - g_j||^2 from the differences of their factors, i of `f` and j of `g`; the same for (i, j) and (j, i), zero for
// equal factors
template <class T>
double squared_norm_of_difference(const Factors<T>& f, int64_t i, const Factors<T>& g, int64_t j);

// The factors as deviations from their means in every pass: r = m + q, h = k + p. All gradients are moved by the same
// sum_a m^a (x) k^a, which changes no distance, and the expansion n_i + n_j - 2 <g_i, g_j> then loses digits only where
// two gradients agree to within their spread.
template <class T>
class Centred {
 public:
  explicit Centred(const Factors<T>& f);
  // A member's share of the means; all shares must be there before anything else is asked for
  void prepare(const Team& team, int rank);
  void set_means(const double* means) { std::copy_n(means, means_.size(), means_.begin()); }  // [R, C + D]
  void set_factors(const Factors<T>& f) { f_ = f; }  // the same samples in another order
  void deviations(int64_t i, int64_t pass, T* q, T* p) const;
  const Factors<T>& factors() const { return f_; }
  const double* residual_mean(int64_t pass) const { return means_.data() + pass * (f_.C + f_.D); }
  const double* feature_mean(int64_t pass) const { return residual_mean(pass) + f_.C; }
  const double* means() const { return means_.data(); }

 private:
  Factors<T> f_;
  std::vector<double> means_;  // [R, C + D], rounded to T
};

// Samples in panels of `width`, each [R][C + D][width], zeros behind the last sample: what a micro-kernel reads. With
// them, per sample, the inner products with the means: u, v [R, R][panels * width], and the squared norms.
template <class T>
class Panels {
 public:
  Panels(const Factors<T>& f, int width, int64_t count);
  // Packs panels [begin, end) of `count` samples, of which number s is samples[s], or s where samples is null
  void pack(const Centred<T>& centred, const int32_t* samples, int64_t count, int64_t begin, int64_t end);
  // Packs samples [first, first + count) or those given, which `packed` has described already
  void repack(const Centred<T>& centred, const Panels& packed, const int32_t* samples, int64_t first, int64_t count);
  int64_t panels(int64_t count) const { return (count + width_ - 1) / width_; }
  const T* q(int64_t panel, int64_t pass) const { return data_.data() + (panel * R_ + pass) * (C_ + D_) * width_; }
  const T* p(int64_t panel, int64_t pass) const { return q(panel, pass) + C_ * width_; }
  // Of pass a with the means of pass b, from sample `first` on
  Cross<T> cross(int64_t a, int64_t b, int64_t first) const {
    return {u_.data() + (a * R_ + b) * count_ + first, v_.data() + (a * R_ + b) * count_ + first};
  }
  const T* norms() const { return norms_.data(); }

 private:
  void place(int64_t at, const T* q, const T* p);
  void describe(const Centred<T>& centred, int64_t at, const T* q, const T* p);

  int width_;
  int64_t R_, C_, D_, count_;
  Buffer<T> data_;
  std::vector<T> u_, v_, norms_, scratch_;
};

// Scratch of one thread: [tile, tile] each, and the rows of a tile.
template <class T>
struct TileBuffers {
  TileBuffers(const Factors<T>& f, int mr, int tile);
  Buffer<T> gram, above, below, pp, qq, d;
  Panels<T> rows;
  int64_t open = -1;  // the tile of rows that `rows` holds
};

// Samples as the rows or the columns of tiles: panels, and which samples of which factors those hold.
template <class T>
struct TileSide {
  const Factors<T>& factors;
  const Panels<T>& panels;
  int64_t count;
  const int32_t* samples;  // null for first, first + 1, ...
  int64_t first;

  int64_t sample(int64_t at) const { return samples ? samples[at] : first + at; }
};

// All samples packed, with their norms. Every entry comes from the same chain of operations whatever tile it is in, so
// that a row computed alone equals that row of the whole matrix bit for bit, the matrix is symmetric bit for bit, and
// another order of the samples permutes it.
template <class T>
class Distances {
 public:
  Distances(const Factors<T>& factors, bool squared);
  int64_t n() const { return f_.n; }
  int tile_size() const { return k_.tile; }
  int64_t tiles() const { return (f_.n + k_.tile - 1) / k_.tile; }
  const Factors<T>& factors() const { return f_; }
  const Centred<T>& centred() const { return centred_; }
  TileBuffers<T> buffers() const { return TileBuffers<T>(f_, k_.mr, k_.tile); }
  // Packs a member's share and waits for the others
  void prepare(Team& team, int rank);
  // The same for use as columns only, with means [R, C + D] of more samples than are here
  void prepare_columns(const double* means, Team& team, int rank);
  // Puts sample order[i] in place i; `pack` must follow. Factors::number tells which sample it is.
  void reorder(const std::vector<int32_t>& order);
  void pack(Team& team, int rank);
  // Panels for some samples as rows or as columns
  Panels<T> rows(int64_t count) const { return Panels<T>(f_, k_.mr, count); }
  Panels<T> columns(int64_t count) const { return Panels<T>(f_, k_.nr, count); }
  // samples: [count], or null for first, first + 1, ...
  TileSide<T> open(Panels<T>& panels, const int32_t* samples, int64_t first, int64_t count) const;
  TileSide<T> all() const { return {f_, packed_, f_.n, nullptr, 0}; }
  // The rows of a whole tile, kept in the buffers until another one is asked for
  TileSide<T> open_tile(TileBuffers<T>& buffers, int64_t index) const;
  // Distances from at most tile_size() rows to columns [j0, j1), at most as many, j0 at the start of a panel; returns
  // the largest
  T tile(const TileSide<T>& rows, const TileSide<T>& columns, int64_t j0, int64_t j1, TileBuffers<T>& buffers, T* out,
         int64_t stride) const;
  // visit(i0, i1, j0, j1, d, stride, largest) for the tiles of the upper triangle that this thread takes off the counter
  template <class Visit>
  void upper_tiles(std::atomic<int64_t>& next, TileBuffers<T>& buffers, const Visit& visit) const;
  // The whole matrix: upper tiles computed, lower ones mirrored; returns the largest entry this thread has seen
  T matrix(std::atomic<int64_t>& next, T* out) const;

 private:
  void multiply_means();
  void products(const TileSide<T>& rows, const TileSide<T>& columns, int64_t j0, int64_t count, int64_t a, int64_t b,
                TileBuffers<T>& buffers, T* into, bool accumulate) const;
  T epilogue(const TileSide<T>& rows, const TileSide<T>& columns, int64_t j0, int64_t j1, const TileBuffers<T>& buffers,
             T* out, int64_t stride) const;

  Factors<T> f_;
  const Kernels<T>& k_;
  const bool squared_;
  const T threshold_;
  Centred<T> centred_;
  std::vector<int64_t> members_, numbers_;  // of another order; else empty
  Panels<T> packed_;
  std::vector<T> mm_, kk_;  // [R, R] inner products of the means
};

template <class T>
template <class Visit>
void Distances<T>::upper_tiles(std::atomic<int64_t>& next, TileBuffers<T>& buffers, const Visit& visit) const {
  const int64_t size = k_.tile, count = tiles(), last = count * (count + 1) / 2;
  int64_t row = 0, before = 0;  // tiles in the block rows above
  for (int64_t t = next.fetch_add(1); t < last; t = next.fetch_add(1)) {
    for (; t >= before + (count - row); ++row) before += count - row;
    const int64_t i0 = row * size, j0 = (row + t - before) * size;
    const int64_t i1 = std::min(f_.n, i0 + size), j1 = std::min(f_.n, j0 + size);
    const T largest = tile(open_tile(buffers, row), this->all(), j0, j1, buffers, buffers.d.data(), size);
    visit(i0, i1, j0, j1, buffers.d.data(), size, largest);
  }
}

}  // namespace acs_fast
