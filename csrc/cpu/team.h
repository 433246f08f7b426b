// A team of threads: all run one function together (`run`), or one leads and the others help it (`lead`, `share`).
// Not OpenMP, though that is level with it on Linux (benchmarks/results/threads): Apple's Clang has none, wheels would
// bring a second pool of threads beside torch's, and a parallel region may have fewer threads than a barrier counts on.
#pragma once

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstdint>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace acs_fast {

// Spins for a while (a wait is mostly shorter than waking a thread), then gives up its time slice.
class Waiting {
 public:
  void once() {
    if (++spins_ < kSpins) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    } else {
      std::this_thread::yield();
    }
  }

 private:
  static constexpr int kSpins = 2000;
  int spins_ = 0;
};

struct Span {
  int64_t begin, end;
};

class Team {
 public:
  explicit Team(int size) : size_(size < 1 ? 1 : size), barrier_(size_) {}

  int size() const { return size_; }
  void wait() { barrier_.arrive_and_wait(); }

  // body(rank) on every member, the caller being rank 0. All memory that may run out is taken before the first wait.
  void run(const std::function<void(int)>& body) {
    std::exception_ptr failed;
    std::atomic<bool> claimed{false};
    std::atomic<int> complete{0};  // 1: all members are there; -1: one could not be started, and nobody begins
    const auto guarded = [&](int rank) {
      for (Waiting waiting; complete.load(std::memory_order_acquire) == 0;) waiting.once();
      if (complete.load(std::memory_order_relaxed) < 0) return;
      try {
        body(rank);
      } catch (...) {
        if (!claimed.exchange(true)) failed = std::current_exception();
      }
    };
    std::vector<std::thread> others;
    others.reserve(size_ - 1);
    try {
      for (int rank = 1; rank < size_; ++rank) others.emplace_back(guarded, rank);
    } catch (const std::system_error&) {
      failed = std::make_exception_ptr(std::runtime_error(
          "cannot start " + std::to_string(size_) + " threads here; ask for fewer with torch.set_num_threads"));
    }
    complete.store(failed ? -1 : 1, std::memory_order_release);
    guarded(0);
    for (auto& thread : others) thread.join();
    if (failed) std::rethrow_exception(failed);
  }

  // body() on the caller, while the other members help with what it shares.
  void lead(const std::function<void()>& body) {
    stop_.store(false, std::memory_order_relaxed);
    run([&](int rank) {
      if (rank > 0) {
        help(rank);
        return;
      }
      try {
        body();
      } catch (...) {
        stop_.store(true, std::memory_order_release);
        throw;
      }
      stop_.store(true, std::memory_order_release);
    });
  }

  // Within `lead`: work(part, rank) for every part in [0, count), by whoever is free. The leader takes parts from the
  // front and its helpers from the back, so that most parts stay in one member's cache from call to call; a helper that
  // is not running at the moment holds nobody up. `work` may not throw.
  template <class Work>
  void share(int64_t count, const Work& work) {
    if (size_ == 1 || count == 1) {
      for (int64_t part = 0; part < count; ++part) work(part, 0);
      return;
    }
    for (int64_t base = 0; base < count; base += kParts) {
      const int64_t size = std::min(kParts, count - base);
      context_ = &work;
      base_ = base;
      call_ = [](const void* context, int64_t part, int rank) { (*static_cast<const Work*>(context))(part, rank); };
      done_.store(0, std::memory_order_relaxed);
      ++epoch_;
      open_.store(uint64_t(epoch_) << 32 | uint64_t(size), std::memory_order_release);
      int64_t part;
      while ((part = claim(true)) >= 0) {
        work(base + part, 0);
        done_.fetch_add(1, std::memory_order_relaxed);
      }
      for (Waiting waiting; done_.load(std::memory_order_acquire) < size;) waiting.once();
    }
  }

  // The part of [0, n) that belongs to a member, in whole steps of `step`.
  Span part(int rank, int64_t n, int64_t step) const {
    const int64_t steps = (n + step - 1) / step;
    const auto edge = [&](int64_t r) { return std::min(n, steps * r / size_ * step); };
    return {edge(rank), edge(rank + 1)};
  }

 private:
  static constexpr int64_t kParts = 1 << 15;

  // A part of the open job, or -1: the job is (epoch, first part, end) in one word, so a late claim cannot succeed
  int64_t claim(bool front) {
    uint64_t job = open_.load(std::memory_order_acquire);
    while (true) {
      const uint64_t begin = job >> 16 & 0xffff, end = job & 0xffff;
      if (begin >= end) return -1;
      if (open_.compare_exchange_weak(job, front ? job + (uint64_t(1) << 16) : job - 1, std::memory_order_acq_rel))
        return int64_t(front ? begin : end - 1);
    }
  }

  void help(int rank) {
    for (Waiting waiting; !stop_.load(std::memory_order_acquire); waiting.once())
      for (int64_t part; (part = claim(false)) >= 0; waiting = Waiting()) {
        call_(context_, base_ + part, rank);
        done_.fetch_add(1, std::memory_order_release);
      }
  }

  const int size_;
  std::barrier<> barrier_;
  const void* context_ = nullptr;
  void (*call_)(const void*, int64_t, int) = nullptr;
  int64_t base_ = 0;
  uint32_t epoch_ = 0;
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<uint64_t> open_{0};
  alignas(64) std::atomic<int64_t> done_{0};
};

}  // namespace acs_fast
