#include "factors.h"
#include "ops.h"
#include "stages.h"

namespace acs_fast {
namespace {

template <class T>
void fill_matrix(const FactorTensors& factors, bool squared, at::Tensor& out) {
  const int64_t n = out.size(0);
  const at::Tensor members = at::arange(n, at::kLong);
  Team team(threads());
  Distances<T> distances(factors.group<T>(members.const_data_ptr<int64_t>(), n), squared);
  std::atomic<int64_t> next{0};
  T* d = out.mutable_data_ptr<T>();
  prefer_huge_pages(d, out.nbytes());
  team.run([&](int rank) {
    distances.prepare(team, rank);
    distances.matrix(next, d);
  });
}

}  // namespace

at::Tensor pairwise_distances_cpu(const at::Tensor& residuals, const at::Tensor& features, bool bias, bool squared) {
  const Stopwatch start;
  const FactorTensors factors(residuals, features, bias);
  const int64_t n = residuals.size(0);
  at::Tensor out = at::empty({n, n}, factors.residuals.options().requires_grad(false));
  if (n > 0) factors.is_double() ? fill_matrix<double>(factors, squared, out) : fill_matrix<float>(factors, squared, out);
  stage_seconds()["distances"] += Stopwatch(start).lap();
  return out;
}

}  // namespace acs_fast
