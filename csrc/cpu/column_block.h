// Distances from any samples to a fixed block of others: the columns that one process holds of a matrix that none has whole.
#pragma once

#include <cstdint>
#include <vector>

#include "distances.h"

namespace acs_fast {

// Entries equal those of the whole matrix bit for bit, given the means and the numbers of all samples.
template <class T>
class ColumnBlock {
 public:
  // means: [R, C + D] of all samples, rounded to T
  ColumnBlock(const Factors<T>& columns, const double* means, bool squared, int threads);
  int64_t tile_size() const { return distances_.tile_size(); }
  // Of the samples cut into blocks, those pairs (a, b) of blocks with (a + b) % ranks == rank: a row of block a holds the
  // distances to its blocks b, in order, at out + i * stride. `block`: a multiple of 64, at most a tile, or the tile.
  // Returns the largest.
  T pairs(T* out, int64_t stride, int64_t block, int64_t rank, int64_t ranks, int threads) const;
  // out[i * width + j] for every row i and every column j
  void rows(const Factors<T>& rows, T* out, int threads) const;

 private:
  Distances<T> distances_;
};

// sums[a][.] += the residuals and features of every sample in pass a, one sample after the other; sums: [R, C + D]
template <class T>
void add_factors(const Factors<T>& samples, double* sums);

// gains_j += sum_t clamp(rows[t][j], low_t, high_t) - high_t in units of 1 / scale: what lowering some samples from `high`
// to `low` takes off every candidate's gain. index[t] says which row of `distances` is meant, or is null for the t-th.
template <class T>
void lower_gains(int64_t* gains, int64_t width, const T* distances, int64_t stride, const int64_t* index, int64_t count,
                 const T* low, const T* high, double scale, int threads);

// The entries of some rows that are below the level of their column, as integers in units of 1 / scale: which row, which
// column, and the entry, for at most count * width of them; returns how many. `index` as above.
template <class T>
int64_t lower_entries(const T* distances, int64_t stride, const int64_t* index, int64_t count, const T* level,
                      int64_t width, double scale, int64_t* row, int64_t* column, T* entry);

}  // namespace acs_fast
