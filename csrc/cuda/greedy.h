// Greedy facility location on distance matrices, all groups in one launch: arguments, plan and launcher.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace acs_fast::cuda {

// The host emulation compiles the same kernels with smaller numbers, so that small cases reach every path.
#ifndef ACS_GREEDY_THREADS_OF_LARGE
#define ACS_GREEDY_THREADS_OF_LARGE 512
#define ACS_GREEDY_THREADS_OF_SMALL 256
#define ACS_GREEDY_SMALL_ROWS 2048
#define ACS_GREEDY_ROWS_AT_ONCE 1024
#define ACS_GREEDY_REPLICATED_ROWS 16384
#define ACS_GREEDY_COLUMNS_PER_BLOCK 64
#define ACS_GREEDY_STAGED_BYTES (96 << 10)
#endif

constexpr int kThreadsOfLarge = ACS_GREEDY_THREADS_OF_LARGE;
constexpr int kThreadsOfSmall = ACS_GREEDY_THREADS_OF_SMALL;
constexpr int kSmallRows = ACS_GREEDY_SMALL_ROWS;  // where no group has more, blocks have the smaller size
constexpr int kRowsAtOnce = ACS_GREEDY_ROWS_AT_ONCE;  // touched rows that one pass over a block's columns takes
template <typename T>
constexpr int kBlocksOfSmall = sizeof(T) == 4 ? 3 : 2;  // on a multiprocessor, which one small group leaves idle
constexpr int kReplicatedRows = ACS_GREEDY_REPLICATED_ROWS;  // up to here every block of a team follows all rows itself
constexpr int kColumnsPerBlock = ACS_GREEDY_COLUMNS_PER_BLOCK;  // a team leaves each of its blocks at least this many
constexpr size_t kStagedBytes = ACS_GREEDY_STAGED_BYTES;        // a matrix up to this size moves into shared memory

struct Group {
  int64_t matrix;      // where its matrix begins, in elements
  int64_t row_stride;  // of the matrix, in elements
  int64_t first;       // number of its first member among all N
  int64_t first_pick;  // number of its first pick among all k
  int32_t size;
  int32_t budget;
};

struct BlockRole {
  int32_t group;  // -1: takes groups from the queue, alone
  int32_t rank;
  int32_t size;
  int32_t first_slot;
};

struct GreedyPlan {
  std::vector<BlockRole> roles;  // one per block
  std::vector<int32_t> queue;    // groups that single blocks solve, the largest first
  int32_t slots = 0;
  int threads = kThreadsOfLarge;  // of every block
  size_t region_bytes = 0;        // shared memory for what `Region` has
};

// Where levels, gains and a staged matrix of a block end in its shared memory, in bytes.
struct Region {
  size_t levels, gains, matrix;
};

__host__ __device__ inline Region region_of(size_t rows, size_t columns, size_t element_bytes) {
  const size_t levels = (rows * element_bytes + 15) / 16 * 16, gains = levels + (columns * 8 + 15) / 16 * 16;
  return {levels, gains, gains + rows * rows * element_bytes};
}

template <typename T>
struct GreedyArguments {
  const T* distances;
  const T* d_max;  // [G] the largest distance of each group
  const Group* groups;
  const BlockRole* roles;
  const int32_t* queue;
  int32_t queue_length;
  bool symmetric;       // a column may be read as a row
  size_t region_bytes;  // as in the plan
  // workspace, zeroed: 2 * slots (16 bytes each), [1], [G, 2]
  void* slots;
  int32_t* queue_head;
  int32_t* touched;
  // workspace, any content: [N], [N], [N], [N, 2]
  long long* gain;
  T* level;
  int32_t* touched_row;
  void* touched_levels;  // of the distances' type
  // results: [k], [k], [k] zeroed, [N], [G] zeroed, [G]
  int64_t* picks;
  double* gains;
  float* weights;
  int64_t* assignment;
  unsigned long long* objective;
  double* unit;
};

struct Device {
  int multiprocessors;
  size_t shared_bytes;  // that one block may have
};

GreedyPlan plan_greedy(const std::vector<Group>& groups, size_t element_bytes, const Device& device, int resident_blocks);

// Shared memory of one block, besides the region.
size_t greedy_fixed_bytes(int threads, size_t element_bytes);

// How many blocks of this plan's size and region one multiprocessor holds.
template <typename T>
cudaError_t greedy_blocks_per_multiprocessor(const GreedyPlan& plan, int* blocks);

template <typename T>
cudaError_t launch_greedy(const GreedyArguments<T>& arguments, const GreedyPlan& plan, cudaStream_t stream);

}  // namespace acs_fast::cuda
