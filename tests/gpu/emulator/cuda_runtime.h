// CUDA's execution model on one CPU thread: every CUDA thread is a fibre, and a seeded random choice says which runs
// next at each barrier and each poll. For tests only: the kernels' own source runs, not a copy of it.
#pragma once

#include <csetjmp>
#include <random>
#include <stdexcept>

#include <ucontext.h>

#include "cuda_host.h"

namespace emulator {

constexpr size_t kStackBytes = 64 << 10;
constexpr size_t kSwitches = 5000000;  // far more than any test needs

struct Barrier {
  int expected = 0;
  std::vector<int> waiting;
};

struct Block {
  unsigned index = 0;
  std::vector<unsigned char> shared;
  Barrier barrier;
  std::vector<Barrier> warps;
  std::vector<Exchanged> exchanged;
};

struct Fibre {
  Block* block = nullptr;
  unsigned thread = 0;
  bool started = false;
  ucontext_t context;
  jmp_buf place;
  std::unique_ptr<char[]> stack;
};

struct Machine {
  std::vector<Block> blocks;
  std::vector<Fibre> fibres;
  std::vector<int> ready;
  std::function<void()> kernel;
  std::mt19937_64 random;
  jmp_buf scheduler;
  int running = -1;
};

inline Machine*& machine() {
  static Machine* instance = nullptr;
  return instance;
}
inline Fibre& current() { return machine()->fibres[machine()->running]; }
inline unsigned char* shared_memory() { return current().block->shared.data(); }
inline unsigned thread_index() { return current().thread; }
inline unsigned block_index() { return current().block->index; }
inline Exchanged& exchanged(unsigned thread) { return current().block->exchanged[thread]; }

inline void to_scheduler() {
  if (!_setjmp(current().place)) _longjmp(machine()->scheduler, 1);
}

inline void yield() {
  machine()->ready.push_back(machine()->running);
  to_scheduler();
}

inline void wait(Barrier& barrier) {
  barrier.waiting.push_back(machine()->running);
  if (static_cast<int>(barrier.waiting.size()) == barrier.expected) {
    machine()->ready.insert(machine()->ready.end(), barrier.waiting.begin(), barrier.waiting.end());
    barrier.waiting.clear();
  }
  to_scheduler();
}

inline void wait_for_warp() { wait(current().block->warps[current().thread / 32]); }

inline void enter() {
  machine()->kernel();
  _longjmp(machine()->scheduler, 2);
}

// Runs until every fibre has returned; a state in which none can go on is a deadlock.
inline void run(unsigned blocks, unsigned threads, size_t shared_bytes, const std::function<void()>& kernel) {
  Machine m;
  machine() = &m;
  m.kernel = kernel;
  m.random.seed(seed());
  m.blocks.resize(blocks);
  m.fibres.resize(static_cast<size_t>(blocks) * threads);
  for (unsigned b = 0; b < blocks; ++b) {
    Block& block = m.blocks[b];
    block.index = b;
    block.shared.assign(shared_bytes, 0xa5);
    block.barrier.expected = static_cast<int>(threads);
    block.warps.resize(threads / 32);
    for (Barrier& warp : block.warps) warp.expected = 32;
    block.exchanged.resize(threads);
    for (unsigned t = 0; t < threads; ++t) {
      Fibre& fibre = m.fibres[static_cast<size_t>(b) * threads + t];
      fibre.block = &block;
      fibre.thread = t;
      m.ready.push_back(static_cast<int>(b * threads + t));
    }
  }
  volatile size_t left = m.fibres.size(), switches = 0;
  while (left > 0) {
    const int outcome = _setjmp(m.scheduler);
    if (outcome == 2) left = left - 1;
    if (left == 0) break;
    switches = switches + 1;
    if (m.ready.empty() || switches > kSwitches) throw std::runtime_error("deadlock: no thread gets on");
    const size_t pick = m.random() % m.ready.size();
    m.running = m.ready[pick];
    m.ready[pick] = m.ready.back();
    m.ready.pop_back();
    Fibre& fibre = current();
    if (fibre.started) _longjmp(fibre.place, 1);
    fibre.started = true;
    fibre.stack.reset(new char[kStackBytes]);
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = fibre.stack.get();
    fibre.context.uc_stack.ss_size = kStackBytes;
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, enter, 0);
    setcontext(&fibre.context);
  }
  machine() = nullptr;
}

template <typename Slot>
Slot load_relaxed(const Slot* address) {
  yield();
  return *address;
}
template <typename Slot>
void store_relaxed(Slot* address, Slot value) {
  yield();
  *address = value;
}
inline unsigned long long load_acquire(const unsigned long long* address) {
  yield();
  return *address;
}
inline void store_release(unsigned long long* address, unsigned long long value) {
  yield();
  *address = value;
}

}  // namespace emulator

inline void __syncthreads() { emulator::wait(emulator::current().block->barrier); }

template <typename T>
T atomicAdd(T* address, T value) {
  const T old = *address;
  *address = old + value;
  return old;
}
