// Blocks that solve one group together: how they find each other's best candidate, and wait for each other.
#pragma once

#include <cuda_runtime.h>

#include "greedy.h"
#include "greedy_step.cuh"

namespace acs {

constexpr int kWarps = kThreads / 32;

// One per block and parity. `tag` holds the round in its upper half and the column in its lower.
struct Slot {
  long long gain;
  unsigned long long tag;
};

#ifdef ACS_EMULATED
using emulator::load_acquire;
using emulator::store_release;
#else
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

// Every thread gets the block's best. `scratch` [kWarps] must not be in use by the call before: the caller alternates.
__device__ __forceinline__ Candidate best_of_block(Candidate best, Candidate* scratch) {
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

  // Every block's candidate in, the best of all out, the same for every thread of every block. What any block wrote
  // before is visible to all after.
  __device__ Candidate exchange(Candidate mine, Candidate* scratch) {
    ++round;
    Slot* board = slots + (round & 1u) * size;
    __syncthreads();
    if (threadIdx.x == 0) {
      board[rank].gain = mine.gain;
      store_release(&board[rank].tag, (static_cast<unsigned long long>(round) << 32) | static_cast<unsigned>(mine.column));
    }
    Candidate best{-2, 0x7fffffff};
    for (int other = threadIdx.x; other < size; other += kThreads) {
      unsigned long long tag;
      do tag = load_acquire(&board[other].tag);
      while (static_cast<unsigned>(tag >> 32) != round);
      const long long gain = *static_cast<volatile long long*>(&board[other].gain);
      best = better(best, Candidate{gain, static_cast<int>(tag & 0xffffffffu)});
    }
    return best_of_block(best, scratch);
  }
};

}  // namespace acs
