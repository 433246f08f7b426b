// Greedy facility location within groups: many small ones side by side, few large ones by all threads together.
#include <algorithm>
#include <numeric>

#include "factors.h"
#include "greedy.h"
#include "ops.h"
#include "stages.h"

namespace acs_fast {
namespace {

// Rows computed from the factors when they are asked for, a tile at a time: nothing n x n is ever there.
template <class T>
class FactorSource {
 public:
  FactorSource(const Distances<T>& distances, const Team& team)
      : distances_(distances),
        column_(distances.n()),
        opened_(distances.centred().factors(), kernels<T>().mr, distances.tile_size()) {
    for (int m = 0; m < team.size(); ++m)
      buffers_.emplace_back(distances.tile_size(), distances.centred().factors().R);
  }

  int64_t rows_at_once() const { return distances_.tile_size(); }
  int64_t columns_at_once() const { return distances_.tile_size(); }
  const T* column(int64_t j, Team& team) {
    const int32_t sample = int32_t(j);
    open(&sample, 1);
    const int64_t part = columns_at_once(), n = distances_.n();
    team.share((n + part - 1) / part, [&](int64_t p, int rank) {
      distances_.tile(tile_rows(), p * part, std::min(n, (p + 1) * part), buffers_[rank], column_.data() + p * part, n);
    });
    return column_.data();
  }
  void open(const int32_t* i, int64_t count) {
    opened_.pack(distances_.centred(), i, count, 0, opened_.panels(count));
    samples_ = i;
    count_ = count;
  }
  void rows(Span columns, int rank, const T** out) {
    T* d = buffers_[rank].d.data();
    distances_.tile(tile_rows(), columns.begin, columns.end, buffers_[rank], d, columns_at_once());
    for (int64_t r = 0; r < count_; ++r) out[r] = d + r * columns_at_once() - columns.begin;
  }

 private:
  TileRows<T> tile_rows() const { return {distances_.centred().factors(), opened_, 0, count_, samples_, 0}; }

  const Distances<T>& distances_;
  std::vector<T> column_;
  Panels<T> opened_;
  const int32_t* samples_ = nullptr;
  int64_t count_ = 0;
  std::vector<TileBuffers<T>> buffers_;
};

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

// Matrix-free: upper tiles once for the largest distance and once for the first gains, then only the rows touched
template <class T>
Seconds solve_matrix_free(Team& team, Distances<T>& distances, int64_t budget, GreedyResult& result) {
  Stopwatch watch;
  Seconds seconds;
  const int64_t n = distances.n();
  std::atomic<int64_t> next{0}, again{0};
  std::vector<T> largest(team.size());
  std::vector<TileBuffers<T>> buffers;
  for (int m = 0; m < team.size(); ++m) buffers.emplace_back(distances.tile_size(), distances.centred().factors().R);
  team.run([&](int rank) {
    distances.prepare(team, rank);
    T top = T(0);
    const auto visit = [&](int64_t, int64_t, int64_t, int64_t, const T*, int64_t, T here) { top = std::max(top, here); };
    distances.upper_tiles(next, buffers[rank], visit);
    largest[rank] = top;
  });
  Greedy<T> greedy(n, double(largest_of(largest)));
  std::vector<std::vector<uint64_t>> sums(team.size(), std::vector<uint64_t>(n, 0));
  team.run([&](int rank) {
    std::vector<const T*> rows(distances.tile_size());
    std::vector<T> mirrored(distances.tile_size() * distances.tile_size());
    const auto visit = [&](int64_t i0, int64_t i1, int64_t j0, int64_t j1, const T* d, int64_t s, T) {
      for (int64_t i = 0; i < i1 - i0; ++i) rows[i] = d + i * s - j0;
      greedy.add_to_column_sums(sums[rank].data(), rows.data(), i1 - i0, {j0, j1});
      if (i0 == j0) return;
      kernels<T>().transpose(d, s, i1 - i0, j1 - j0, mirrored.data(), s);
      for (int64_t j = 0; j < j1 - j0; ++j) rows[j] = mirrored.data() + j * s - i0;
      greedy.add_to_column_sums(sums[rank].data(), rows.data(), j1 - j0, {i0, i1});
    };
    distances.upper_tiles(again, buffers[rank], visit);
  });
  seconds.distances = watch.lap();
  for (int m = 1; m < team.size(); ++m)
    for (int64_t j = 0; j < n; ++j) sums[0][j] += sums[m][j];
  greedy.set_gains(sums[0].data(), {0, n});
  FactorSource<T> source(distances, team);
  team.lead([&] { greedy.run(team, source, budget, result); });
  seconds.greedy = watch.lap();
  return seconds;
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
                                    threads * bytes(order[first]) > double(workspace_bytes_));
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
  double bytes(int64_t g) const { return work(g) * sizeof(T); }
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
    if (bytes(g) <= double(workspace_bytes_)) {
      if (memory.data() == nullptr) memory = Buffer<T>(size_t(n) * n);
      seconds = solve_dense(team, distances, k, memory.data(), result);
    } else {
      seconds = solve_matrix_free(team, distances, k, result);
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
