// A pick as seen from the rows: which ones it serves better, and the gains that follow.
#pragma once

#include "greedy_gains.cuh"
#include "team.cuh"

namespace acs_fast::cuda {

// Lower the levels of the rows in [from, to) that the pick serves better and hand them to `list(row, low, high)`, which
// says whether there is room: a row that finds none keeps its level and is found again by the next call.
template <int kThreads, typename T, typename List>
__device__ __forceinline__ void find_touched(const Problem<T>& p, int pick, int step, int from, int to,
                                             int64_t* assignment, const List& list) {
  const T* column = p.matrix + pick * p.column_stride;
  for (int base = from + threadIdx.x; base < to; base += kLoads * kThreads) {
    T d[kLoads], level[kLoads];
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      const int row = base + u * kThreads;
      d[u] = row < to ? column[row * p.column_step] : T(0);
      level[u] = row < to ? p.level[row] : T(0);
    }
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      const int row = base + u * kThreads;
      if (!(d[u] < level[u]) || rounded_bits(d[u], p.scale) >= rounded_bits(level[u], p.scale)) continue;
      if (!list(row, d[u], level[u])) continue;
      p.level[row] = d[u];
      if (row >= p.begin && row < p.end) assignment[row] = step;
    }
  }
}

// Every block finds all touched rows by itself: no meeting. The list is empty at the beginning; `listed` becomes how
// many entries are to be cleared before the next.
template <typename T, typename S>
__device__ Candidate step_replicated(const Problem<T>& p, S& s, int64_t* assignment, int pick, int step, int& listed) {
  for (;;) {
    find_touched<S::kSize>(p, pick, step, 0, p.n, assignment, [&](int row, T low, T high) {
      const int at = atomicAdd(&s.found, 1);
      if (at < kRowsAtOnce) put_entry(p, s, at, row, low, high);
      return at < kRowsAtOnce;
    });
    __syncthreads();
    const int found = s.found;
    listed = min(found, kRowsAtOnce);
    const Candidate best = update_gains(p, s, listed, pick);
    if (found <= kRowsAtOnce) return best;
    __syncthreads();
    clear_entries(p, s, 0, listed);
    if (threadIdx.x == 0) s.found = 0;
    __syncthreads();
  }
}

template <typename T>
struct SharedList {
  int* found;  // [2] by the step's parity
  int* row;
  T* low;
  T* high;
};

// Each block looks for touched rows among its own; the team meets and takes all of them.
template <typename T, typename S>
__device__ Candidate step_partitioned(const Problem<T>& p, S& s, Team& team, const SharedList<T>& list,
                                      int64_t* assignment, int pick, int step) {
  int* found = list.found + (step & 1);
  // nobody reads the other parity's count any more, and nobody adds to it before meeting this block again
  if (team.rank == 0 && threadIdx.x == 0) list.found[(step + 1) & 1] = 0;
  find_touched<S::kSize>(p, pick, step, p.begin, p.end, assignment, [&](int row, T low, T high) {
    const int at = atomicAdd(found, 1);
    list.row[at] = row;
    list.low[at] = low;
    list.high[at] = high;
    return true;
  });
  if (team.size > 1) {
    team.meet(Candidate{0, 0}, s.best[1]);
  } else {
    __syncthreads();
  }
  const int total = *static_cast<volatile int*>(found), turn = kLoads * p.deep;
  Candidate best{-2, 0x7fffffff};
  for (int base = 0; base == 0 || base < total; base += kRowsAtOnce) {
    const int rows = min(total - base, kRowsAtOnce);
    __syncthreads();
    for (int k = threadIdx.x; k < rows; k += S::kSize)
      put_entry(p, s, k, __ldcg(list.row + base + k), __ldcg(list.low + base + k), __ldcg(list.high + base + k));
    clear_entries(p, s, rows, (rows + turn - 1) / turn * turn);
    __syncthreads();
    best = update_gains(p, s, rows, pick);
  }
  return best;
}

}  // namespace acs_fast::cuda
