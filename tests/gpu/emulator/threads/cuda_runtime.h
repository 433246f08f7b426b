// CUDA's execution model for ThreadSanitizer: every CUDA thread is a thread, __syncthreads() a std::barrier, every access
// with an order in PTX an atomic of exactly that order, and everything else plain, so that a missing fence is a race.
#pragma once

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <thread>

#include "../cuda_host.h"

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
  std::vector<Exchanged> exchanged;
};

inline thread_local Block* block;
inline thread_local unsigned thread;
inline thread_local std::chrono::steady_clock::time_point begun;

inline unsigned char* shared_memory() { return block->shared.get(); }
inline unsigned thread_index() { return thread; }
inline unsigned block_index() { return block->index; }
inline Exchanged& exchanged(unsigned other) { return block->exchanged[other]; }
inline void wait_for_warp() { block->warps[thread / 32]->arrive_and_wait(); }

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

}  // namespace emulator

inline void __syncthreads() { emulator::block->barrier.arrive_and_wait(); }

template <typename T>
T atomicAdd(T* address, T value) {
  return std::atomic_ref<T>(*address).fetch_add(value, std::memory_order_relaxed);
}
