// A team of threads that run one function together and can wait for each other inside it.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <thread>
#include <vector>

namespace acs_fast {

// Waits by spinning for a while (a wait is mostly shorter than waking a thread), then by giving up its time slice.
class Barrier {
 public:
  explicit Barrier(int size) : size_(size) {}

  void wait() {
    if (size_ == 1) return;
    const int phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; phase_.load(std::memory_order_acquire) == phase; ++spins) {
      if (spins < kSpins) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
      } else {
        std::this_thread::yield();
      }
    }
  }

 private:
  static constexpr int kSpins = 4000;
  const int size_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> phase_{0};
};

struct Span {
  int64_t begin, end;
};

class Team {
 public:
  explicit Team(int size) : size_(size < 1 ? 1 : size), barrier_(size_) {}

  int size() const { return size_; }
  void wait() { barrier_.wait(); }

  // body(rank) on every member, the caller being rank 0. All memory that may run out is taken before the first wait.
  void run(const std::function<void(int)>& body) {
    std::exception_ptr failed;
    std::atomic<bool> claimed{false};
    const auto guarded = [&](int rank) {
      try {
        body(rank);
      } catch (...) {
        if (!claimed.exchange(true)) failed = std::current_exception();
      }
    };
    std::vector<std::thread> others;
    others.reserve(size_ - 1);
    for (int rank = 1; rank < size_; ++rank) others.emplace_back(guarded, rank);
    guarded(0);
    for (auto& thread : others) thread.join();
    if (failed) std::rethrow_exception(failed);
  }

  // The part of [0, n) that belongs to a member, in whole steps of `step`.
  Span part(int rank, int64_t n, int64_t step) const {
    const int64_t steps = (n + step - 1) / step;
    const auto edge = [&](int64_t r) { return std::min(n, steps * r / size_ * step); };
    return {edge(rank), edge(rank + 1)};
  }

 private:
  const int size_;
  Barrier barrier_;
};

}  // namespace acs_fast
