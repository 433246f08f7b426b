// Exact greedy facility location. A team of blocks solves a group: each block owns some columns and their gains, so that
// nothing is added up by more than one writer, and the team meets once per pick (twice for large groups) through slots
// in memory, never through the host.
#include "greedy.h"
#include "team.cuh"

#ifndef ACS_EMULATED
#define ACS_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#endif

namespace acs {
namespace {

constexpr int kLoads = 8;  // distances in flight per thread

struct Shared {
  Candidate best[2][kWarps];
  long long partial[kThreads];
  long long before[kRowsAtOnce];  // levels of the touched rows, quantised
  long long after[kRowsAtOnce];
  int row[kRowsAtOnce];
  int found;
  int next;
};

template <typename T>
struct Problem {
  const T* matrix;  // [n, n], rows row_stride apart
  int64_t row_stride;
  int64_t column_step;  // from one entry of a column to the next
  int64_t column_stride;
  T* level;  // [n] what every row pays now
  bool replicated;
  int n;
  int begin, end;  // the columns, and the rows, that this block owns
  double scale;
};

template <typename T>
__device__ long long change_of_column(const Problem<T>& p, const Shared& s, int rows, int column, int y, int deep) {
  long long sum = 0;
  for (int k = y; k < rows; k += kLoads * deep) {
    T d[kLoads];
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      const int at = k + u * deep;
      d[u] = at < rows ? p.matrix[s.row[at] * p.row_stride + column] : T(0);
    }
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      const int at = k + u * deep;
      if (at < rows) sum += change_of_gain(quantise(d[u], p.scale), s.before[at], s.after[at]);
    }
  }
  return sum;
}

// Bring the gains of the block's columns up to date with `rows` touched rows; the best of this thread's columns.
template <typename T>
__device__ Candidate update_gains(const Problem<T>& p, Shared& s, long long* gain, int rows, int pick) {
  Candidate best{-2, 0x7fffffff};
  const int width = p.end - p.begin;
  if (width <= 0) return best;
  const int tiles = (width + kThreads - 1) / kThreads;
  const int across = ((width + tiles - 1) / tiles + 31) / 32 * 32;  // threads side by side on columns
  const int deep = kThreads / across;                               // threads that share a column's rows
  const int x = threadIdx.x % across, y = threadIdx.x / across;
  for (int tile = 0; tile < tiles; ++tile) {
    const int column = p.begin + tile * across + x;
    const bool mine = y < deep && column < p.end;
    const bool open = mine && gain[column] >= 0;  // picked ones are at -1
    long long change = open ? change_of_column(p, s, rows, column, y, deep) : 0;
    if (deep > 1) {
      s.partial[threadIdx.x] = change;
      __syncthreads();
      for (int other = 1; y == 0 && other < deep; ++other) change += s.partial[other * across + x];
      __syncthreads();
    }
    if (!mine || y > 0) continue;
    long long value = gain[column];
    value = column == pick ? -1 : (open ? value + change : value);
    gain[column] = value;
    best = better(best, Candidate{value, column});
  }
  return best;
}

// Lower the levels of the rows in [from, to) that the pick serves better and list them. A row that finds the list full
// keeps its level and is found again by the next call.
template <typename T>
__device__ void find_touched(const Problem<T>& p, int pick, int step, int from, int to, int capacity, int* found,
                             int* row_out, long long* before_out, long long* after_out, int64_t* assignment) {
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
      if (!(d[u] < level[u])) continue;
      const long long before = quantise(level[u], p.scale), after = quantise(d[u], p.scale);
      if (after >= before) continue;
      const int at = atomicAdd(found, 1);
      if (at >= capacity) continue;
      row_out[at] = row;
      before_out[at] = before;
      after_out[at] = after;
      p.level[row] = d[u];
      if (row >= p.begin && row < p.end) assignment[row] = step;
    }
  }
}

// Every block finds all touched rows by itself: no meeting.
template <typename T>
__device__ Candidate step_replicated(const Problem<T>& p, Shared& s, long long* gain, int64_t* assignment, int pick,
                                     int step) {
  for (;;) {
    __syncthreads();
    if (threadIdx.x == 0) s.found = 0;
    __syncthreads();
    find_touched(p, pick, step, 0, p.n, kRowsAtOnce, &s.found, s.row, s.before, s.after, assignment);
    __syncthreads();
    const int found = s.found;
    const Candidate best = update_gains(p, s, gain, min(found, kRowsAtOnce), pick);
    if (found <= kRowsAtOnce) return best;
  }
}

struct SharedList {
  int* found;  // [2] by the step's parity
  int* row;
  long long* before;
  long long* after;
};

// Each block looks for touched rows among its own; the team meets and takes all of them.
template <typename T>
__device__ Candidate step_partitioned(const Problem<T>& p, Shared& s, Team& team, const SharedList& list,
                                      long long* gain, int64_t* assignment, int pick, int step) {
  int* found = list.found + (step & 1);
  // nobody reads the other parity's count any more, and nobody adds to it before meeting this block again
  if (team.rank == 0 && threadIdx.x == 0) list.found[(step + 1) & 1] = 0;
  find_touched(p, pick, step, p.begin, p.end, p.n, found, list.row, list.before, list.after, assignment);
  if (team.size > 1) {
    team.exchange(Candidate{0, 0}, s.best[1]);
  } else {
    __syncthreads();
  }
  const int total = *static_cast<volatile int*>(found);
  Candidate best{-2, 0x7fffffff};
  for (int base = 0; base == 0 || base < total; base += kRowsAtOnce) {
    const int rows = min(total - base, kRowsAtOnce);
    __syncthreads();
    for (int k = threadIdx.x; k < rows; k += kThreads) {
      s.row[k] = __ldcg(list.row + base + k);
      s.before[k] = __ldcg(list.before + base + k);
      s.after[k] = __ldcg(list.after + base + k);
    }
    __syncthreads();
    best = update_gains(p, s, gain, rows, pick);
  }
  return best;
}

// All gains from nothing: every row's level falls from zero's place to the largest distance.
template <typename T>
__device__ Candidate first_gains(const Problem<T>& p, Shared& s, long long* gain, long long top) {
  for (int column = p.begin + threadIdx.x; column < p.end; column += kThreads) gain[column] = 0;
  Candidate best{-2, 0x7fffffff};
  for (int base = 0; base < p.n; base += kRowsAtOnce) {
    const int rows = min(p.n - base, kRowsAtOnce);
    __syncthreads();
    for (int k = threadIdx.x; k < rows; k += kThreads) {
      s.row[k] = base + k;
      s.before[k] = 0;
      s.after[k] = top;
    }
    __syncthreads();
    best = update_gains(p, s, gain, rows, -1);
  }
  return best;
}

// What this block works on: its share of the group, with levels and a small matrix in shared memory where they fit.
template <typename T>
__device__ Problem<T> set_up(const GreedyArguments<T>& a, const Group& g, const Team& team, T* region, T d_max) {
  Problem<T> p;
  p.n = g.size;
  p.begin = static_cast<int>(static_cast<int64_t>(p.n) * team.rank / team.size);
  p.end = static_cast<int>(static_cast<int64_t>(p.n) * (team.rank + 1) / team.size);
  p.matrix = a.distances + g.matrix;
  p.row_stride = g.row_stride;
  p.scale = ldexp(1.0, scale_exponent(d_max, p.n));
  const size_t room = a.region_bytes / sizeof(T), n = p.n;
  p.replicated = (team.size == 1 || p.n <= kReplicatedRows) && n <= room;
  p.level = p.replicated ? region : a.level + g.first;
  if (team.size == 1 && n + n * n <= room) {
    T* staged = region + n;
    for (int64_t k = threadIdx.x; k < static_cast<int64_t>(n * n); k += kThreads)
      staged[k] = p.matrix[k / p.n * p.row_stride + k % p.n];
    p.matrix = staged;
    p.row_stride = p.n;
  }
  p.column_step = a.symmetric ? 1 : p.row_stride;
  p.column_stride = a.symmetric ? p.row_stride : 1;
  const int from = p.replicated ? 0 : p.begin, to = p.replicated ? p.n : p.end;
  for (int row = from + threadIdx.x; row < to; row += kThreads) p.level[row] = d_max;
  for (int row = p.begin + threadIdx.x; row < p.end; row += kThreads) a.assignment[g.first + row] = 0;
  return p;
}

// Weights and objective, from the rows this block owns.
template <typename T>
__device__ void finish(const GreedyArguments<T>& a, const Group& g, const Problem<T>& p, int group) {
  unsigned long long sum = 0;
  for (int row = p.begin + threadIdx.x; row < p.end; row += kThreads) {
    sum += static_cast<unsigned long long>(quantise(p.level[row], p.scale));
    atomicAdd(a.weights + g.first_pick + a.assignment[g.first + row], 1.0f);
  }
  if (sum > 0) atomicAdd(a.objective + group, sum);
}

template <typename T>
__device__ void solve(const GreedyArguments<T>& a, Shared& s, T* region, Team team, int group) {
  const Group g = a.groups[group];
  const T d_max = a.d_max[group];
  const Problem<T> p = set_up(a, g, team, region, d_max);
  const double unit = 1.0 / p.scale;
  long long* gain = a.gain + g.first;
  int64_t* assignment = a.assignment + g.first;
  const SharedList list{a.touched + 2 * group, a.touched_row + g.first, a.touched_levels + 2 * g.first,
                        a.touched_levels + 2 * g.first + p.n};
  __syncthreads();
  Candidate mine = first_gains(p, s, gain, quantise(d_max, p.scale));
  for (int step = 0; step < g.budget; ++step) {
    Candidate best = best_of_block(mine, s.best[0]);
    if (team.size > 1) best = team.exchange(best, s.best[1]);
    if (team.rank == 0 && threadIdx.x == 0) {
      a.picks[g.first_pick + step] = best.column;
      a.gains[g.first_pick + step] = static_cast<double>(best.gain) * unit;
    }
    mine = p.replicated ? step_replicated(p, s, gain, assignment, best.column, step)
                        : step_partitioned(p, s, team, list, gain, assignment, best.column, step);
  }
  __syncthreads();
  finish(a, g, p, group);
  if (team.rank == 0 && threadIdx.x == 0) a.unit[group] = unit;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) greedy_kernel(const GreedyArguments<T> a) {
  ACS_DYNAMIC_SHARED(storage);
  Shared& s = *reinterpret_cast<Shared*>(storage);
  T* region = reinterpret_cast<T*>(storage + sizeof(Shared));
  const BlockRole role = a.roles[blockIdx.x];
  if (role.group >= 0) {
    Slot* slots = static_cast<Slot*>(a.slots) + 2 * role.first_slot;
    solve(a, s, region, Team{slots, role.rank, role.size, 0}, role.group);
    return;
  }
  for (;;) {
    __syncthreads();
    if (threadIdx.x == 0) s.next = atomicAdd(a.queue_head, 1);
    __syncthreads();
    const int next = s.next;
    if (next >= a.queue_length) return;
    solve(a, s, region, Team{nullptr, 0, 1, 0}, a.queue[next]);
  }
}

}  // namespace

size_t greedy_fixed_bytes() { return sizeof(Shared); }

template <typename T>
cudaError_t greedy_blocks_per_multiprocessor(size_t region_bytes, int* blocks) {
  const size_t bytes = sizeof(Shared) + region_bytes;
  const cudaError_t error = cudaFuncSetAttribute(greedy_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                 static_cast<int>(bytes));
  if (error != cudaSuccess) return error;
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, greedy_kernel<T>, kThreads, bytes);
}

// Cooperative: blocks of a team wait for each other, so all of them must be resident.
template <typename T>
cudaError_t launch_greedy(const GreedyArguments<T>& arguments, int blocks, cudaStream_t stream) {
  const size_t bytes = sizeof(Shared) + arguments.region_bytes;
  const cudaError_t error = cudaFuncSetAttribute(greedy_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                 static_cast<int>(bytes));
  if (error != cudaSuccess) return error;
  GreedyArguments<T> copy = arguments;
  void* parameters[] = {&copy};
  return cudaLaunchCooperativeKernel(greedy_kernel<T>, dim3(blocks), dim3(kThreads), parameters, bytes, stream);
}

template cudaError_t greedy_blocks_per_multiprocessor<float>(size_t, int*);
template cudaError_t greedy_blocks_per_multiprocessor<double>(size_t, int*);
template cudaError_t launch_greedy<float>(const GreedyArguments<float>&, int, cudaStream_t);
template cudaError_t launch_greedy<double>(const GreedyArguments<double>&, int, cudaStream_t);

}  // namespace acs
