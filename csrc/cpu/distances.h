// Distances between factored gradients, one tile at a time: two small matrix products and their epilogue.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "kernels.h"
#include "team.h"

namespace acs_fast {

// n samples with R head passes: residuals [., R, C] and features [., R, D], contiguous; `members` picks and orders them.
template <class T>
struct Factors {
  const T* residuals;
  const T* features;
  const int64_t* members;  // [n]
  int64_t n, R, C, D;
  bool bias;

  const T* residual(int64_t i, int64_t pass) const { return residuals + (members[i] * R + pass) * C; }
  const T* feature(int64_t i, int64_t pass) const { return features + (members[i] * R + pass) * D; }
};

template <class T>
double squared_norm(const Factors<T>& f, int64_t i);
// ||g_i - g_j||^2 from the differences of their factors; the same for (i, j) and (j, i), zero for equal factors
template <class T>
double squared_norm_of_difference(const Factors<T>& f, int64_t i, int64_t j);

// Samples in panels of `width`, each [R][C + D][width], zeros behind the last sample: what a micro-kernel reads.
template <class T>
class Panels {
 public:
  Panels(const Factors<T>& f, int width, int64_t count);
  // Packs panels [begin, end); sample number s of the panels is samples[s], or s where samples is null
  void pack(const Factors<T>& f, const int32_t* samples, int64_t count, int64_t begin, int64_t end);
  int64_t panels(int64_t count) const { return (count + width_ - 1) / width_; }
  const T* residual(int64_t panel, int64_t pass) const {
    return data_.data() + (panel * R_ + pass) * (C_ + D_) * width_;
  }
  const T* feature(int64_t panel, int64_t pass) const { return residual(panel, pass) + C_ * width_; }

 private:
  int width_;
  int64_t R_, C_, D_;
  Buffer<T> data_;
};

// Scratch of one thread: [tile, tile] each, and one micro-tile.
template <class T>
struct TileBuffers {
  TileBuffers(int tile, int64_t R);
  std::vector<T> gram, above, below, hh, rr, d;
};

// The rows of one tile: panels, the first panel among them, and which samples they hold.
template <class T>
struct TileRows {
  const Panels<T>& panels;
  int64_t first_panel, count;
  const int32_t* samples;  // null for first, first + 1, ...
  int64_t first;

  int64_t sample(int64_t row) const { return samples ? samples[row] : first + row; }
};

// All samples packed, with their norms. Every entry comes from the same chain of operations whatever tile it is in, so
// that a row computed alone equals that row of the whole matrix bit for bit, and the matrix is symmetric bit for bit.
template <class T>
class Distances {
 public:
  Distances(const Factors<T>& factors, bool squared);
  int64_t n() const { return f_.n; }
  int tile_size() const { return k_.tile; }
  const Factors<T>& factors() const { return f_; }
  TileRows<T> rows_of_tile(int64_t index) const;
  // Packs a member's share; every member's share must be packed before the first tile
  void prepare(const Team& team, int rank);
  // Distances from at most tile_size() rows to samples [j0, j1), at most as many, j0 at the start of a panel
  void tile(const TileRows<T>& rows, int64_t j0, int64_t j1, TileBuffers<T>& buffers, T* out, int64_t stride) const;
  // Calls visit(i0, i1, j0, j1, d, stride) for the tiles of the upper triangle that this thread takes off the counter
  template <class Visit>
  void upper_tiles(std::atomic<int64_t>& next, TileBuffers<T>& buffers, const Visit& visit) const;
  // The whole matrix: upper tiles computed, lower ones mirrored; returns the largest entry this thread has seen
  T matrix(std::atomic<int64_t>& next, T* out) const;

 private:
  void products(const TileRows<T>& rows, int64_t j0, int64_t columns, int64_t a, int64_t b, TileBuffers<T>& buffers,
                T* into, bool accumulate) const;
  void epilogue(const TileRows<T>& rows, int64_t j0, int64_t j1, const TileBuffers<T>& buffers, T* out,
                int64_t stride) const;

  Factors<T> f_;
  const Kernels<T>& k_;
  const bool squared_;
  const T threshold_;
  Panels<T> left_, right_;
  std::vector<T> norms_;
};

template <class T>
template <class Visit>
void Distances<T>::upper_tiles(std::atomic<int64_t>& next, TileBuffers<T>& buffers, const Visit& visit) const {
  const int64_t size = k_.tile, count = (f_.n + size - 1) / size, all = count * (count + 1) / 2;
  int64_t row = 0, before = 0;  // tiles in the block rows above
  for (int64_t t = next.fetch_add(1); t < all; t = next.fetch_add(1)) {
    for (; t >= before + (count - row); ++row) before += count - row;
    const int64_t i0 = row * size, j0 = (row + t - before) * size;
    const int64_t i1 = std::min(f_.n, i0 + size), j1 = std::min(f_.n, j0 + size);
    tile(rows_of_tile(row), j0, j1, buffers, buffers.d.data(), size);
    visit(i0, i1, j0, j1, buffers.d.data(), size);
  }
}

}  // namespace acs_fast
