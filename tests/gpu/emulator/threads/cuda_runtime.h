// CUDA's execution model for ThreadSanitizer: every CUDA thread is a thread, __syncthreads() a std::barrier, every access
// with an order in PTX an atomic of exactly that order, and everything else plain, so that a missing fence is a race.
#pragma once

#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#define ACS_EMULATED
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define ACS_DYNAMIC_SHARED(name) unsigned char* name = emulator::block->shared.get()

struct dim3 {
  unsigned x = 1;
  explicit dim3(unsigned value = 1) : x(value) {}
};
using cudaStream_t = void*;
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };

namespace emulator {

constexpr int kStuck = 3;                        // exit status
constexpr std::chrono::seconds kPatience{40};    // of a thread that polls

struct Block {
  Block(unsigned number, unsigned threads, size_t shared_bytes)
      : index(number), shared(new (std::align_val_t{16}) unsigned char[shared_bytes]), barrier(threads), exchanged(threads) {
    std::memset(shared.get(), 0xa5, shared_bytes);
    for (unsigned warp = 0; warp < threads / 32; ++warp) warps.push_back(std::make_unique<std::barrier<>>(32));
  }
  struct Free {
    void operator()(unsigned char* bytes) const { ::operator delete[](bytes, std::align_val_t{16}); }
  };
  unsigned index;
  std::unique_ptr<unsigned char[], Free> shared;
  std::barrier<> barrier;
  std::vector<std::unique_ptr<std::barrier<>>> warps;
  std::vector<std::array<unsigned char, 16>> exchanged;
};

inline thread_local Block* block;
inline thread_local unsigned thread;
inline thread_local std::chrono::steady_clock::time_point begun;

inline unsigned long long& seed() {
  static unsigned long long value = 0;
  return value;
}
inline size_t& shared_limit() {
  static size_t bytes = 0;
  return bytes;
}

inline void run(unsigned blocks, unsigned threads, size_t shared_bytes, const std::function<void()>& kernel) {
  std::vector<std::unique_ptr<Block>> all;
  std::vector<std::thread> started;
  for (unsigned b = 0; b < blocks; ++b) all.push_back(std::make_unique<Block>(b, threads, shared_bytes));
  for (unsigned b = 0; b < blocks; ++b)
    for (unsigned t = 0; t < threads; ++t)
      started.emplace_back([&, b, t] {
        block = all[b].get();
        thread = t;
        begun = std::chrono::steady_clock::now();
        kernel();
      });
  for (std::thread& one : started) one.join();
}

inline void poll() {
  std::this_thread::yield();
  if (std::chrono::steady_clock::now() - begun < kPatience) return;
  std::fprintf(stderr, "no thread gets on\n");
  std::_Exit(kStuck);
}

template <typename Slot>
Slot load_relaxed(const Slot* address) {
  poll();
  auto* place = reinterpret_cast<unsigned __int128*>(const_cast<Slot*>(address));
  const unsigned __int128 bits = std::atomic_ref<unsigned __int128>(*place).load(std::memory_order_relaxed);
  Slot value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
template <typename Slot>
void store_relaxed(Slot* address, Slot value) {
  unsigned __int128 bits;
  std::memcpy(&bits, &value, sizeof(bits));
  std::atomic_ref<unsigned __int128>(*reinterpret_cast<unsigned __int128*>(address)).store(bits, std::memory_order_relaxed);
}
inline unsigned long long load_acquire(const unsigned long long* address) {
  poll();
  return std::atomic_ref<unsigned long long>(*const_cast<unsigned long long*>(address)).load(std::memory_order_acquire);
}
inline void store_release(unsigned long long* address, unsigned long long value) {
  std::atomic_ref<unsigned long long>(*address).store(value, std::memory_order_release);
}

struct Index {
  unsigned x;
};

}  // namespace emulator

#define threadIdx (emulator::Index{emulator::thread})
#define blockIdx (emulator::Index{emulator::block->index})

inline void __syncthreads() { emulator::block->barrier.arrive_and_wait(); }

template <typename T>
T __shfl_xor_sync(unsigned, T value, int lanes) {
  emulator::Block& block = *emulator::block;
  std::barrier<>& warp = *block.warps[emulator::thread / 32];
  std::memcpy(block.exchanged[emulator::thread].data(), &value, sizeof(T));
  warp.arrive_and_wait();
  T result;
  std::memcpy(&result, block.exchanged[emulator::thread ^ lanes].data(), sizeof(T));
  warp.arrive_and_wait();
  return result;
}

template <typename T>
T atomicAdd(T* address, T value) {
  return std::atomic_ref<T>(*address).fetch_add(value, std::memory_order_relaxed);
}

template <typename T>
T __ldcg(const T* address) {
  return *address;
}

inline int min(int a, int b) { return a < b ? a : b; }

template <typename P>
cudaError_t cudaFuncSetAttribute(void (*)(P), cudaFuncAttribute, int) {
  return cudaSuccess;
}
template <typename P>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void (*)(P), int, size_t) {
  *blocks = 1;
  return cudaSuccess;
}
template <typename P>
cudaError_t cudaLaunchCooperativeKernel(void (*kernel)(P), dim3 grid, dim3 block, void** parameters, size_t shared,
                                        cudaStream_t) {
  auto* argument = static_cast<std::remove_const_t<P>*>(parameters[0]);
  emulator::run(grid.x, block.x, shared, [=] { kernel(*argument); });
  return cudaSuccess;
}
