// Greedy facility location on a given matrix.
#include "greedy.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "ops.h"

namespace acs_fast {
namespace {

constexpr int64_t kMirrorBytes = int64_t(1) << 30;  // largest matrix that is copied so that its columns can be read

// One pass over the matrix: of finite distances >= 0 the largest bits are the largest distance's.
template <class T>
struct Survey {
  uint64_t largest = 0;
  bool symmetric = true;

  T value() const {
    T x;
    const auto bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>(largest);
    std::memcpy(&x, &bits, sizeof x);
    return x;
  }
  bool valid() const { return !std::signbit(value()) && std::isfinite(value()); }
};

int64_t block_size(int64_t n, int64_t begin) { return std::min<int64_t>(kCompared, n - begin); }

template <class T>
Survey<T> survey(Team& team, const T* d, int64_t n) {
  std::vector<Survey<T>> found(team.size());
  std::atomic<int64_t> next{0};
  team.run([&](int rank) {
    Survey<T> own;
    for (int64_t i = next.fetch_add(kCompared); i < n; i = next.fetch_add(kCompared))
      for (int64_t j = i; j < n; j += kCompared)
        own.symmetric &= kernels<T>().mirrors(d + i * n + j, d + j * n + i, n, block_size(n, i), block_size(n, j),
                                              &own.largest);
    found[rank] = own;
  });
  for (const auto& f : found) {
    found[0].largest = std::max(found[0].largest, f.largest);
    found[0].symmetric &= f.symmetric;
  }
  return found[0];
}

// The columns of an asymmetric matrix as rows, where there is memory to spare; else nothing.
template <class T>
Buffer<T> columns_of(Team& team, const T* d, int64_t n) {
  if (n * n * int64_t(sizeof(T)) > kMirrorBytes) return {};
  Buffer<T> mirrored(size_t(n) * n);
  std::atomic<int64_t> next{0};
  team.run([&](int) {
    for (int64_t i = next.fetch_add(kCompared); i < n; i = next.fetch_add(kCompared))
      for (int64_t j = 0; j < n; j += kCompared)
        kernels<T>().transpose(d + i * n + j, n, block_size(n, i), block_size(n, j), mirrored.data() + j * n + i, n);
  });
  return mirrored;
}

// Says what is wrong with distances that a survey found not to be all finite and positive; else their largest.
template <class T>
T largest_of_valid(const T* d, int64_t count) {
  if (!std::all_of(d, d + count, [](T x) { return std::isfinite(x); }))
    throw std::invalid_argument("distances must be finite");
  const auto [low, high] = std::minmax_element(d, d + count);
  if (*low < T(0)) throw std::invalid_argument("distances must be >= 0; got " + std::to_string(*low));
  return *high + T(0);
}

template <class T>
void solve(const T* d, int64_t n, int64_t budget, int threads, GreedyResult& result) {
  Team team(threads);
  const Survey<T> found = survey(team, d, n);
  const T largest = found.valid() ? found.value() : largest_of_valid(d, n * n);  // only a minus zero is allowed there
  Greedy<T> greedy(n, double(largest));
  const Buffer<T> mirrored = found.symmetric ? Buffer<T>() : columns_of(team, d, n);
  MatrixSource<T> source(d, n, found.symmetric ? d : mirrored.data(), team);
  run_on_matrix(team, greedy, source, d, n, budget, result);
}

}  // namespace

template <class T>
StageSeconds greedy(const T* distances, int64_t n, int64_t budget, int threads, int64_t* indices, double* gains,
                    int64_t* assignment) {
  Stopwatch watch;
  std::fill_n(assignment, n, int64_t(0));
  GreedyResult result{indices, gains, assignment, 0.0};
  if (n > 0) solve(distances, n, budget, threads, result);
  return {{"greedy", watch.lap()}};
}

template StageSeconds greedy(const float*, int64_t, int64_t, int, int64_t*, double*, int64_t*);
template StageSeconds greedy(const double*, int64_t, int64_t, int, int64_t*, double*, int64_t*);

}  // namespace acs_fast
