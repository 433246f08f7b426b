#include <numeric>
#include <vector>

#include "ops.h"

namespace acs_fast {
namespace {

template <class T>
void fill_matrix(const FactorArrays& factors, bool squared, int threads, T* d) {
  std::vector<int64_t> everyone(factors.N);
  std::iota(everyone.begin(), everyone.end(), 0);
  Team team(threads);
  Distances<T> distances(factors.group<T>(everyone.data(), factors.N), squared);
  std::atomic<int64_t> next{0};
  prefer_huge_pages(d, sizeof(T) * factors.N * factors.N);
  team.run([&](int rank) {
    distances.prepare(team, rank);
    distances.matrix(next, d);
  });
}

}  // namespace

StageSeconds pairwise_distances(const FactorArrays& factors, bool squared, int threads, void* distances) {
  Stopwatch watch;
  if (factors.N > 0) {
    if (factors.is_double)
      fill_matrix(factors, squared, threads, static_cast<double*>(distances));
    else
      fill_matrix(factors, squared, threads, static_cast<float*>(distances));
  }
  return {{"distances", watch.lap()}};
}

}  // namespace acs_fast
