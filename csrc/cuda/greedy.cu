// Exact greedy facility location. A team of blocks solves a group: each block owns some columns and their gains, so that
// nothing is added up by more than one writer, and the team meets once per pick (twice for large groups) through slots
// in memory, never through the host.
//
// Quantised distances are taken as the bits of a float64 sum, so a row at level `high` that falls to `low` changes the
// gain of a column at distance d by bits(clamp(d, low, high)) - bits(high): rounding is monotonic, so the clamp comes
// first, in the distances' own type, and an entry with low = high = 0 changes nothing. Lists end in such entries.
#include "greedy.h"
#include "team.cuh"

#ifndef ACS_EMULATED
#define ACS_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#endif

namespace acs_fast::cuda {
namespace {

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

// What this block works on: its share of the group; levels, gains and a small matrix in shared memory where they fit.
template <typename T, int kThreads>
__device__ Problem<T> set_up(const GreedyArguments<T>& a, const Group& g, const Team& team, unsigned char* region,
                             T d_max) {
  Problem<T> p;
  p.n = g.size;
  p.begin = static_cast<int>(static_cast<int64_t>(p.n) * team.rank / team.size);
  p.end = static_cast<int>(static_cast<int64_t>(p.n) * (team.rank + 1) / team.size);
  p.matrix = a.distances + g.matrix;
  p.row_stride = g.row_stride;
  p.scale = ldexp(1.0, scale_exponent(d_max, p.n));
  const int width = p.end - p.begin;
  p.tiles = (width + kThreads - 1) / kThreads;
  p.across = p.tiles > 0 ? ((width + p.tiles - 1) / p.tiles + 31) / 32 * 32 : 32;
  p.deep = kThreads / p.across;
  const Region layout = region_of(p.n, width, sizeof(T));
  p.replicated = (team.size == 1 || p.n <= kReplicatedRows) && layout.levels <= a.region_bytes;
  p.level = p.replicated ? reinterpret_cast<T*>(region) : a.level + g.first;
  const bool gains_fit = p.replicated && layout.gains <= a.region_bytes;
  p.gain = gains_fit ? reinterpret_cast<long long*>(region + layout.levels) : a.gain + g.first + p.begin;
  if (gains_fit && team.size == 1 && layout.matrix <= a.region_bytes) {
    T* staged = reinterpret_cast<T*>(region + layout.gains);
    for (int64_t k = threadIdx.x; k < static_cast<int64_t>(p.n) * p.n; k += kThreads)
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
template <int kThreads, typename T>
__device__ void finish(const GreedyArguments<T>& a, const Group& g, const Problem<T>& p, int group) {
  unsigned long long sum = 0;
  for (int row = p.begin + threadIdx.x; row < p.end; row += kThreads) {
    sum += static_cast<unsigned long long>(quantise(p.level[row], p.scale));
    atomicAdd(a.weights + g.first_pick + a.assignment[g.first + row], 1.0f);
  }
  if (sum > 0) atomicAdd(a.objective + group, sum);
}

template <typename T, int kThreads>
__device__ void solve(const GreedyArguments<T>& a, Shared<T, kThreads>& s, unsigned char* region, Team team, int group) {
  const Group g = a.groups[group];
  const T d_max = a.d_max[group];
  const Problem<T> p = set_up<T, kThreads>(a, g, team, region, d_max);
  const double unit = 1.0 / p.scale;
  int64_t* assignment = a.assignment + g.first;
  T* levels = static_cast<T*>(a.touched_levels) + 2 * g.first;
  const SharedList<T> list{a.touched + 2 * group, a.touched_row + g.first, levels, levels + p.n};
  Candidate mine = first_gains(p, s, d_max);
  int listed = 0;
  for (int step = 0; step < g.budget; ++step) {
    Candidate best = best_of_block(mine, s.best[0]);
    if (p.replicated) {  // between two meetings of the block, when nobody reads the list
      clear_entries(p, s, 0, listed);
      if (threadIdx.x == 0) s.found = 0;
    }
    if (team.size == 1) {
      __syncthreads();
    } else if (p.replicated) {
      best = team.exchange(best, s.best[1]);
    } else {
      best = team.meet(best, s.best[1]);
    }
    if (team.rank == 0 && threadIdx.x == 0) {
      a.picks[g.first_pick + step] = best.column;
      a.gains[g.first_pick + step] = static_cast<double>(best.gain) * unit;
    }
    mine = p.replicated ? step_replicated(p, s, assignment, best.column, step, listed)
                        : step_partitioned(p, s, team, list, assignment, best.column, step);
  }
  __syncthreads();
  finish<kThreads>(a, g, p, group);
  if (team.rank == 0 && threadIdx.x == 0) a.unit[group] = unit;
}

template <typename T, int kThreads, int kBlocks>
__global__ void __launch_bounds__(kThreads, kBlocks) greedy_kernel(const GreedyArguments<T> a) {
  ACS_DYNAMIC_SHARED(storage);
  auto& s = *reinterpret_cast<Shared<T, kThreads>*>(storage);
  unsigned char* region = storage + (sizeof(s) + 15) / 16 * 16;
  const BlockRole role = a.roles[blockIdx.x];
  if (role.group >= 0) {
    Slot* slots = static_cast<Slot*>(a.slots) + 2 * role.first_slot;
    solve<T, kThreads>(a, s, region, Team{slots, role.rank, role.size, 0}, role.group);
    return;
  }
  for (;;) {
    __syncthreads();
    if (threadIdx.x == 0) s.next = atomicAdd(a.queue_head, 1);
    __syncthreads();
    const int next = s.next;
    if (next >= a.queue_length) return;
    solve<T, kThreads>(a, s, region, Team{nullptr, 0, 1, 0}, a.queue[next]);
  }
}

template <typename T>
using Kernel = void (*)(GreedyArguments<T>);

template <typename T>
Kernel<T> kernel_for(int threads) {
  return threads == kThreadsOfSmall ? Kernel<T>(greedy_kernel<T, kThreadsOfSmall, kBlocksOfSmall<T>>)
                                    : Kernel<T>(greedy_kernel<T, kThreadsOfLarge, 1>);
}

template <typename T>
cudaError_t allow_shared_memory(const GreedyPlan& plan, size_t* bytes) {
  *bytes = greedy_fixed_bytes(plan.threads, sizeof(T)) + plan.region_bytes;
  return cudaFuncSetAttribute(kernel_for<T>(plan.threads), cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(*bytes));
}

}  // namespace

size_t greedy_fixed_bytes(int threads, size_t element_bytes) {
  const bool small = threads == kThreadsOfSmall;
  const size_t bytes = element_bytes == sizeof(float)
                           ? (small ? sizeof(Shared<float, kThreadsOfSmall>) : sizeof(Shared<float, kThreadsOfLarge>))
                           : (small ? sizeof(Shared<double, kThreadsOfSmall>) : sizeof(Shared<double, kThreadsOfLarge>));
  return (bytes + 15) / 16 * 16;
}

template <typename T>
cudaError_t greedy_blocks_per_multiprocessor(const GreedyPlan& plan, int* blocks) {
  size_t bytes = 0;
  const cudaError_t error = allow_shared_memory<T>(plan, &bytes);
  if (error != cudaSuccess) return error;
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, kernel_for<T>(plan.threads), plan.threads, bytes);
}

// Cooperative: blocks of a team wait for each other, so all of them must be resident.
template <typename T>
cudaError_t launch_greedy(const GreedyArguments<T>& arguments, const GreedyPlan& plan, cudaStream_t stream) {
  size_t bytes = 0;
  const cudaError_t error = allow_shared_memory<T>(plan, &bytes);
  if (error != cudaSuccess) return error;
  GreedyArguments<T> copy = arguments;
  void* parameters[] = {&copy};
  return cudaLaunchCooperativeKernel(kernel_for<T>(plan.threads), dim3(static_cast<unsigned>(plan.roles.size())),
                                     dim3(static_cast<unsigned>(plan.threads)), parameters, bytes, stream);
}

template cudaError_t greedy_blocks_per_multiprocessor<float>(const GreedyPlan&, int*);
template cudaError_t greedy_blocks_per_multiprocessor<double>(const GreedyPlan&, int*);
template cudaError_t launch_greedy<float>(const GreedyArguments<float>&, const GreedyPlan&, cudaStream_t);
template cudaError_t launch_greedy<double>(const GreedyArguments<double>&, const GreedyPlan&, cudaStream_t);

}  // namespace acs_fast::cuda
