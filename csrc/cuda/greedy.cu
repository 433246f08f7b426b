// Exact greedy facility location. A team of blocks solves a group: each block owns some columns and their gains, so that
// nothing is added up by more than one writer, and the team meets once per pick (twice for large groups) through slots
// in memory, never through the host.
#include "greedy.h"
#include "greedy_rows.cuh"

#ifndef ACS_EMULATED
#define ACS_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#endif

namespace acs_fast::cuda {
namespace {

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

// As much as the device has, whatever this plan needs: the attribute is the kernel's, and another thread between its own
// call and its launch must not find it lowered.
template <typename T>
cudaError_t allow_shared_memory(const GreedyPlan& plan, size_t* bytes) {
  *bytes = greedy_fixed_bytes(plan.threads, sizeof(T)) + plan.region_bytes;
  int device = 0, most = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  if (error != cudaSuccess) return error;
  return cudaFuncSetAttribute(kernel_for<T>(plan.threads), cudaFuncAttributeMaxDynamicSharedMemorySize, most);
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
