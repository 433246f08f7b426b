// Gradient matching within groups: many small ones side by side, few large ones by all threads together.
#include <algorithm>
#include <numeric>

#include "factors.h"
#include "matcher.h"
#include "ops.h"

namespace acs_fast {
namespace {

struct Output {
  int64_t* indices;
  double *weights, *gains;
  int64_t* counts;
};

template <class T>
MatchingSeconds match_all(const FactorArrays& factors, const Problems& problems, const double* targets, double ridge,
                  int threads, const Output& out) {
  std::vector<int64_t> found(problems.count(), 0);
  std::vector<std::vector<double>> w(problems.count()), g(problems.count());
  std::vector<std::vector<int64_t>> ids(problems.count());
  const auto match = [&](Team& team, int64_t i) -> MatchingSeconds {
    const int64_t n = problems.size(i), k = problems.budgets[i];
    if (n == 0 || k == 0) return {};
    const double* target = targets + i * factors.C * (factors.D + factors.bias);
    Matcher<T> matcher(team, factors.group<T>(problems.group(i), n), target, k, ridge, {0, n}, nullptr);
    matcher.run();
    ids[i].resize(k), w[i].resize(k), g[i].resize(k);
    found[i] = matcher.write(ids[i].data(), w[i].data(), g[i].data());
    return matcher.seconds();
  };
  const int count = threads;
  MatchingSeconds seconds;
  if (count == 1 || problems.count() < 2 * count) {
    Team team(count);
    for (int64_t i = 0; i < problems.count(); ++i) seconds.add(match(team, i), 1);
  } else {
    std::vector<int64_t> order(problems.count());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return problems.budgets[a] > problems.budgets[b]; });
    std::atomic<size_t> next{0};
    std::vector<MatchingSeconds> each(count);
    Team side_by_side(count);
    side_by_side.run([&](int rank) {
      Team alone(1);
      for (size_t i = next.fetch_add(1); i < order.size(); i = next.fetch_add(1))
        each[rank].add(match(alone, order[i]), 1);
    });
    for (const MatchingSeconds& s : each) seconds.add(s, count);
  }
  for (int64_t i = 0; i < problems.count(); ++i) {
    std::copy_n(ids[i].data(), found[i], out.indices + problems.starts[i]);
    std::copy_n(w[i].data(), found[i], out.weights + problems.starts[i]);
    std::copy_n(g[i].data(), found[i], out.gains + problems.starts[i]);
    out.counts[i] = found[i];
  }
  return seconds;
}

}  // namespace

template <class T>
int64_t match_part(const Factors<T>& factors, const double* target, int64_t budget, double ridge, Span own,
                   const Meeting& meeting, int threads, int64_t* indices, double* weights, double* gains) {
  Team team(threads);
  Matcher<T> matcher(team, factors, target, budget, ridge, own, &meeting);
  matcher.run();
  return matcher.write(indices, weights, gains);
}

template int64_t match_part(const Factors<float>&, const double*, int64_t, double, Span, const Meeting&, int, int64_t*,
                            double*, double*);
template int64_t match_part(const Factors<double>&, const double*, int64_t, double, Span, const Meeting&, int, int64_t*,
                            double*, double*);

StageSeconds gradient_matching(const FactorArrays& factors, const Problems& problems, const double* targets,
                               double ridge, int threads, int64_t* indices, double* weights, double* gains,
                               int64_t* counts) {
  const Output out{indices, weights, gains, counts};
  const MatchingSeconds seconds = factors.is_double ? match_all<double>(factors, problems, targets, ridge, threads, out)
                                            : match_all<float>(factors, problems, targets, ridge, threads, out);
  return {{"columns", seconds.columns}, {"screening", seconds.screening}, {"refit", seconds.refit}};
}

}  // namespace acs_fast
