// Blocks that solve one group together: how they find each other's best candidate, and wait for each other.
#pragma once

#include <cuda_runtime.h>

#include "greedy.h"
#include "greedy_step.cuh"

namespace acs_fast::cuda {

// One per block and parity. `tag` holds the round in its upper half and the column in its lower.
struct alignas(16) Slot {
  long long gain;
  unsigned long long tag;
};

#ifdef ACS_EMULATED
using emulator::load_acquire;
using emulator::load_relaxed;
using emulator::store_relaxed;
using emulator::store_release;
#else
// All 16 bytes at once, in no order with anything else.
__device__ __forceinline__ Slot load_relaxed(const Slot* address) {
  Slot value;
  asm volatile("{ .reg .b128 all; ld.relaxed.gpu.global.b128 all, [%2]; mov.b128 {%0, %1}, all; }"
               : "=l"(value.gain), "=l"(value.tag)
               : "l"(address)
               : "memory");
  return value;
}

__device__ __forceinline__ void store_relaxed(Slot* address, Slot value) {
  asm volatile("{ .reg .b128 all; mov.b128 all, {%1, %2}; st.relaxed.gpu.global.b128 [%0], all; }" ::"l"(address),
               "l"(value.gain), "l"(value.tag)
               : "memory");
}

__device__ __forceinline__ unsigned long long load_acquire(const unsigned long long* address) {
  unsigned long long value;
  asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(value) : "l"(address) : "memory");
  return value;
}

__device__ __forceinline__ void store_release(unsigned long long* address, unsigned long long value) {
  asm volatile("st.release.gpu.global.u64 [%0], %1;" ::"l"(address), "l"(value) : "memory");
}
#endif

__device__ __forceinline__ Candidate best_of_warp(Candidate best) {
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) {
    const Candidate other{__shfl_xor_sync(0xffffffffu, best.gain, lane), __shfl_xor_sync(0xffffffffu, best.column, lane)};
    best = better(best, other);
  }
  return best;
}

// Every thread gets the block's best. `scratch` must not be in use by the call before: the caller alternates.
template <int kWarps>
__device__ __forceinline__ Candidate best_of_block(Candidate best, Candidate (&scratch)[kWarps]) {
  best = best_of_warp(best);
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = best;
  __syncthreads();
  best = scratch[0];
#pragma unroll
  for (int warp = 1; warp < kWarps; ++warp) best = better(best, scratch[warp]);
  return best;
}

// One team's slots: [2, size]. Two parities suffice: a block that publishes round e + 2 has collected e + 1 from all,
// and each of them had collected e before it published e + 1.
struct Team {
  Slot* slots;
  int rank;
  int size;
  unsigned round;

  // Every block's candidate in, the best of all out, the same for every thread of every block. Nothing else that a
  // block wrote is visible to another after: the candidates are all that passes between them, whole, without a fence.
  template <int kWarps>
  __device__ Candidate exchange(Candidate mine, Candidate (&scratch)[kWarps]) {
    Slot* board = next_board();
    if (threadIdx.x == 0) store_relaxed(board + rank, {mine.gain, tag_of(mine)});
    Candidate best{-2, 0x7fffffff};
    for (int other = threadIdx.x; other < size; other += 32 * kWarps) {
      Slot found;
      do found = load_relaxed(board + other);
      while (!is_of_round(found.tag));
      best = better(best, Candidate{found.gain, column_of(found.tag)});
    }
    return best_of_block(best, scratch);
  }

  // The same, and what any block wrote before is visible to all after.
  template <int kWarps>
  __device__ Candidate meet(Candidate mine, Candidate (&scratch)[kWarps]) {
    Slot* board = next_board();
    __syncthreads();
    if (threadIdx.x == 0) {
      board[rank].gain = mine.gain;
      store_release(&board[rank].tag, tag_of(mine));
    }
    Candidate best{-2, 0x7fffffff};
    for (int other = threadIdx.x; other < size; other += 32 * kWarps) {
      unsigned long long tag;
      do tag = load_acquire(&board[other].tag);
      while (!is_of_round(tag));
      best = better(best, Candidate{board[other].gain, column_of(tag)});
    }
    return best_of_block(best, scratch);
  }

 private:
  __device__ Slot* next_board() {
    ++round;
    return slots + (round & 1u) * size;
  }
  __device__ unsigned long long tag_of(Candidate mine) const {
    return (static_cast<unsigned long long>(round) << 32) | static_cast<unsigned>(mine.column);
  }
  __device__ bool is_of_round(unsigned long long tag) const { return static_cast<unsigned>(tag >> 32) == round; }
  __device__ static int column_of(unsigned long long tag) { return static_cast<int>(tag & 0xffffffffu); }
};

}  // namespace acs_fast::cuda
