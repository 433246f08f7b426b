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
  int64_t width() const { return distances_.n(); }
  // out[i * stride + j - begin] for every row i and the columns j >= begin, which is a multiple of 64
  void rows(const Factors<T>& rows, int64_t begin, T* out, int64_t stride, int threads) const;

 private:
  Distances<T> distances_;
};

// gains_j += sum_t clamp(rows[t][j], low_t, high_t) - high_t in units of 1 / scale: what lowering some samples from `high`
// to `low` takes off every candidate's gain. index[t] says which row of `distances` is meant, or is null for the t-th.
template <class T>
void lower_gains(int64_t* gains, int64_t width, const T* distances, int64_t stride, const int64_t* index, int64_t count,
                 const T* low, const T* high, double scale, int threads);

}  // namespace acs_fast
