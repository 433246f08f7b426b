// Distances between factored gradients, one tile at a time: two small matrix products and their epilogue.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "panels.h"
#include "upper_pairs.h"

namespace acs_fast {

// ||g_i - g_j||^2 from the differences of their factors, i of `f` and j of `g`; the same for (i, j) and (j, i), zero for
// equal factors
template <class T>
double squared_norm_of_difference(const Factors<T>& f, int64_t i, const Factors<T>& g, int64_t j);

// Scratch of one thread: [tile, tile] each, and the rows of a tile.
template <class T>
struct TileBuffers {
  TileBuffers(const Factors<T>& f, int mr, int tile);
  Buffer<T> gram, above, below, pp, qq, d;
  Panels<T> rows;
  int64_t open = -1;  // the first of the samples that `rows` holds
};

// Of memory at most: a packed sample, and everything that a greedy search needs beside its distances
template <class T>
double bytes_packed(const Factors<T>& f) {
  return double(f.R * (f.C + f.D) + 2 * f.R * f.R + 2) * double(sizeof(T));
}
template <class T>
double bytes_beside_matrix(const Factors<T>& f, int threads, int64_t budget);

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
  // At most a tile of rows, kept in the buffers until others are asked for
  TileSide<T> open_rows(TileBuffers<T>& buffers, int64_t first, int64_t count) const;
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
  Centred<T> centred_;
  std::vector<int64_t> members_, numbers_;  // of another order; else empty
  Panels<T> packed_;
  std::vector<T> mm_, kk_;  // [R, R] inner products of the means
};

template <class T>
template <class Visit>
void Distances<T>::upper_tiles(std::atomic<int64_t>& next, TileBuffers<T>& buffers, const Visit& visit) const {
  const int64_t size = k_.tile;
  upper_pairs(next, tiles(), [&](int64_t row, int64_t column) {
    const int64_t i0 = row * size, j0 = column * size;
    const int64_t i1 = std::min(f_.n, i0 + size), j1 = std::min(f_.n, j0 + size);
    const TileSide<T> rows = open_rows(buffers, i0, i1 - i0);
    const T largest = tile(rows, this->all(), j0, j1, buffers, buffers.d.data(), size);
    visit(i0, i1, j0, j1, buffers.d.data(), size, largest);
  });
}

}  // namespace acs_fast
