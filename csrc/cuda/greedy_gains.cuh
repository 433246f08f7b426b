// What touched rows change in the gains of a block's columns.
//
// Quantised distances are taken as the bits of a float64 sum, so a row at level `high` that falls to `low` changes the
// gain of a column at distance d by bits(clamp(d, low, high)) - bits(high): rounding is monotonic, so the clamp comes
// first, in the distances' own type, and an entry with low = high = 0 changes nothing. Lists end in such entries.
#pragma once

#include "greedy.h"
#include "greedy_step.cuh"

namespace acs_fast::cuda {

constexpr int kLoads = 8;  // distances in flight per thread

// A touched row.
template <typename T>
struct Entry {
  int64_t place;  // of the row in the matrix, in elements
  T low;          // its level now
  T high;         // and before
};

template <typename T, int kThreads>
struct Shared {
  static constexpr int kSize = kThreads;
  static constexpr int kEntries = kRowsAtOnce + kLoads * (kThreads / 32);  // and what the last turn of a loop reads
  Candidate best[2][kThreads / 32];
  long long partial[kThreads];
  long long before[kEntries];  // bits of the entries' high levels
  Entry<T> entry[kEntries];
  int found;
  int next;
};

template <typename T>
struct Problem {
  const T* matrix;  // [n, n], rows row_stride apart
  int64_t row_stride;
  int64_t column_step;  // from one entry of a column to the next
  int64_t column_stride;
  T* level;         // [n] what every row pays now
  long long* gain;  // [end - begin]
  bool replicated;
  int n;
  int begin, end;           // the columns, and the rows, that this block owns
  int across, deep, tiles;  // threads side by side on columns, threads that share a column's rows, rounds over columns
  double scale;
};

template <typename T>
__device__ __forceinline__ T clamped(T d, T low, T high) {
  return fmin(fmax(d, low), high);
}

// What `rows` touched rows, rounded up to whole turns, change in the sum of bits of a column; a thread's share of it.
template <typename T, typename S>
__device__ __forceinline__ long long change_of_column(const Problem<T>& p, const S& s, int rows, int column, int y) {
  const T* place = p.matrix + column;
  long long sum = 0;
  for (int k = y; k < rows; k += kLoads * p.deep) {
    T d[kLoads];
#pragma unroll
    for (int u = 0; u < kLoads; ++u) d[u] = place[s.entry[k + u * p.deep].place];
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      const int at = k + u * p.deep;
      sum += rounded_bits(clamped(d[u], s.entry[at].low, s.entry[at].high), p.scale) - s.before[at];
    }
  }
  return sum;
}

// Calls `visit(index, change)` for every column of the block, by one thread each; picked ones do not change.
template <typename T, typename S, typename Visit>
__device__ __forceinline__ void each_column(const Problem<T>& p, S& s, int rows, const Visit& visit) {
  const int x = threadIdx.x % p.across, y = threadIdx.x / p.across, width = p.end - p.begin;
  for (int tile = 0; tile < p.tiles; ++tile) {
    const int index = tile * p.across + x;
    const bool mine = y < p.deep && index < width;
    long long change = mine && p.gain[index] >= 0 ? change_of_column(p, s, rows, p.begin + index, y) : 0;
    if (p.deep > 1) {
      s.partial[threadIdx.x] = change;
      __syncthreads();
      for (int other = 1; y == 0 && other < p.deep; ++other) change += s.partial[other * p.across + x];
      __syncthreads();
    }
    if (mine && y == 0) visit(index, change);
  }
}

// Bring the gains of the block's columns up to date with `rows` touched rows; the best of this thread's columns.
template <typename T, typename S>
__device__ Candidate update_gains(const Problem<T>& p, S& s, int rows, int pick) {
  Candidate best{-2, 0x7fffffff};
  each_column(p, s, rows, [&](int index, long long change) {
    long long value = p.gain[index];  // picked ones are at -1
    value = p.begin + index == pick ? -1 : (value >= 0 ? value + change : value);
    p.gain[index] = value;
    best = better(best, Candidate{value, p.begin + index});
  });
  return best;
}

template <typename T, typename S>
__device__ __forceinline__ void put_entry(const Problem<T>& p, S& s, int at, int row, T low, T high) {
  s.entry[at] = {row * p.row_stride, low, high};
  s.before[at] = rounded_bits(high, p.scale);
}

// Entries [from, to) that change nothing.
template <typename T, typename S>
__device__ void clear_entries(const Problem<T>& p, S& s, int from, int to) {
  for (int k = from + threadIdx.x; k < to; k += S::kSize) put_entry(p, s, k, 0, T(0), T(0));
}

// All gains from nothing: every row's level falls from zero's place to the largest distance. Leaves the list empty.
template <typename T, typename S>
__device__ Candidate first_gains(const Problem<T>& p, S& s, T d_max) {
  for (int index = threadIdx.x; index < p.end - p.begin; index += S::kSize) p.gain[index] = 0;
  for (int base = 0; base < p.n; base += kRowsAtOnce) {
    const int rows = min(p.n - base, kRowsAtOnce);
    __syncthreads();
    for (int k = threadIdx.x; k < rows; k += S::kSize) put_entry(p, s, k, base + k, T(0), d_max);
    clear_entries(p, s, rows, S::kEntries);
    __syncthreads();
    each_column(p, s, rows, [&](int index, long long change) { p.gain[index] -= change; });
  }
  __syncthreads();
  clear_entries(p, s, 0, S::kEntries);
  Candidate best{-2, 0x7fffffff};
  for (int index = threadIdx.x; index < p.end - p.begin; index += S::kSize)
    best = better(best, Candidate{p.gain[index], p.begin + index});
  return best;
}

}  // namespace acs_fast::cuda
