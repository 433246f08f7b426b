// Greedy facility location within groups: many small ones side by side, few large ones by all threads together.
#include <algorithm>
#include <numeric>

#include "factors.h"
#include "greedy.h"
#include "lazy_greedy.h"
#include "ops.h"
#include "stages.h"

namespace acs_fast {
namespace {

struct Seconds {
  double distances = 0.0, greedy = 0.0;
};

template <class T>
T largest_of(const std::vector<T>& values) {
  return *std::max_element(values.begin(), values.end());
}

// On the whole matrix, in `workspace`
template <class T>
Seconds solve_dense(Team& team, Distances<T>& distances, int64_t budget, T* workspace, GreedyResult& result) {
  Stopwatch watch;
  Seconds seconds;
  const int64_t n = distances.n();
  std::atomic<int64_t> next{0};
  std::vector<T> largest(team.size());
  team.run([&](int rank) {
    distances.prepare(team, rank);
    largest[rank] = distances.matrix(next, workspace);
  });
  seconds.distances = watch.lap();
  Greedy<T> greedy(n, double(largest_of(largest)));
  MatrixSource<T> source(workspace, n, workspace, team);
  run_on_matrix(team, greedy, source, workspace, n, budget, result);
  seconds.greedy = watch.lap();
  return seconds;
}

// Without the whole matrix, on as many tiles of it as fit in `bytes` beside everything else
template <class T>
Seconds solve_lazily(Team& team, Distances<T>& distances, double bytes, int64_t budget, GreedyResult& result) {
  Stopwatch watch;
  Seconds seconds;
  LazyGreedy<T> greedy(team, distances, bytes, budget);
  greedy.prepare();
  seconds.distances = watch.lap();
  greedy.run(budget, result);
  seconds.greedy = watch.lap();
  return seconds;
}

// Of the way by the whole matrix
template <class T>
double dense_bytes(const Factors<T>& f, int threads, int64_t budget) {
  return rounded_up(double(f.n) * double(f.n) * sizeof(T)) + bytes_beside_matrix(f, threads, budget);
}

struct Output {
  int64_t* indices;
  float* weights;
  double *gains, *objectives;
};

template <class T>
class Solver {
 public:
  Solver(const FactorArrays& factors, bool squared, const Problems& problems, int64_t workspace_bytes, Output out)
      : factors_(factors), squared_(squared), problems_(problems), workspace_bytes_(workspace_bytes), out_(out) {}

  // Groups in falling order of size. A group whose share of what is left exceeds a thread's is given to all threads;
  // the rest go one to a thread, where as many matrices fit.
  Seconds solve(int threads) {
    std::vector<int64_t> order(problems_.count());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return problems_.size(a) > problems_.size(b); });
    double left = 0.0;
    for (int64_t g : order) left += work(g);
    Seconds seconds;
    size_t first = 0;
    Buffer<T> memory;
    for (; first < order.size() && (threads == 1 || 2.0 * threads * work(order[first]) > left * 1.25 ||
                                    threads * bytes(order[first], 1) > double(workspace_bytes_));
         ++first) {
      left -= work(order[first]);
      Team team(threads);
      add(seconds, solve_group(team, order[first], memory), 1);
    }
    memory = Buffer<T>();
    std::atomic<size_t> next{first};
    std::vector<Seconds> each(threads);
    Team side_by_side(std::min<int64_t>(threads, order.size() - first));
    side_by_side.run([&](int rank) {
      Buffer<T> own;
      for (size_t i = next.fetch_add(1); i < order.size(); i = next.fetch_add(1)) {
        Team alone(1);
        add(each[rank], solve_group(alone, order[i], own), 1);
      }
    });
    for (const Seconds& s : each) add(seconds, s, side_by_side.size());
    return seconds;
  }

 private:
  double work(int64_t g) const { return double(problems_.size(g)) * double(problems_.size(g)); }
  double bytes(int64_t g, int threads) const {
    return dense_bytes(factors_.group<T>(problems_.group(g), problems_.size(g)), threads, problems_.budgets[g]);
  }
  static void add(Seconds& to, const Seconds& s, int share) {
    to.distances += s.distances / share;
    to.greedy += s.greedy / share;
  }

  // The first group that a worker solves is its largest, so `memory` is taken once.
  Seconds solve_group(Team& team, int64_t g, Buffer<T>& memory) {
    const int64_t n = problems_.size(g), k = problems_.budgets[g], start = problems_.starts[g];
    out_.objectives[g] = 0.0;
    if (n == 0) return {};
    const int64_t* members = problems_.group(g);
    Distances<T> distances(factors_.group<T>(members, n), squared_);
    std::vector<int64_t> assignment(n, 0);
    GreedyResult result{out_.indices + start, out_.gains + start, assignment.data(), 0.0};
    Seconds seconds;
    if (bytes(g, team.size()) <= double(workspace_bytes_)) {
      if (memory.data() == nullptr) memory = Buffer<T>(size_t(n) * n);
      seconds = solve_dense(team, distances, k, memory.data(), result);
    } else {
      seconds = solve_lazily(team, distances, double(workspace_bytes_), k, result);
    }
    std::vector<int64_t> counts(k, 0);
    for (const int64_t a : assignment)
      if (a < k) ++counts[a];
    for (int64_t i = 0; i < k; ++i) {
      out_.weights[start + i] = float(counts[i]);
      out_.indices[start + i] = members[out_.indices[start + i]];
    }
    out_.objectives[g] = result.objective;
    return seconds;
  }

  const FactorArrays& factors_;
  const bool squared_;
  const Problems& problems_;
  const int64_t workspace_bytes_;
  const Output out_;
};

}  // namespace

double facility_location_dense_bytes(const FactorArrays& factors, int64_t n, int threads, int64_t budget) {
  return factors.is_double ? dense_bytes(factors.group<double>(nullptr, n), threads, budget)
                           : dense_bytes(factors.group<float>(nullptr, n), threads, budget);
}

StageSeconds facility_location(const FactorArrays& factors, bool squared, const Problems& problems,
                               int64_t workspace_bytes, int threads, int64_t* indices, float* weights, double* gains,
                               double* objectives) {
  const Output out{indices, weights, gains, objectives};
  const Seconds seconds =
      factors.is_double ? Solver<double>(factors, squared, problems, workspace_bytes, out).solve(threads)
                        : Solver<float>(factors, squared, problems, workspace_bytes, out).solve(threads);
  return {{"distances", seconds.distances}, {"greedy", seconds.greedy}};
}

}  // namespace acs_fast
