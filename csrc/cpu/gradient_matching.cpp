// Non-negative orthogonal matching pursuit in Gram space: correlations and Gram columns by all threads, the refit by one.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "factors.h"
#include "nnls.h"
#include "ops.h"
#include "stages.h"

namespace acs_fast {
namespace {

constexpr double kTolerance = 1e-10;  // of an inner product with the residual, relative to the largest with the target
constexpr int64_t kStep = 64;         // parts of the samples begin at its multiples

struct Seconds {
  double correlations = 0.0, refit = 0.0;
  void add(const Seconds& s, int share) {
    correlations += s.correlations / share;
    refit += s.refit / share;
  }
};

// One group; every sum over samples or factors is the same chain of operations for every number of threads.
template <class T>
class Matcher {
 public:
  Matcher(Team& team, const Factors<T>& f, const double* target, int64_t budget, double ridge)
      : team_(team),
        f_(f),
        k_(kernels<T>()),
        target_(target),
        width_(f.D + f.bias),
        budget_(budget),
        ridge_(ridge),
        part_(part_of(f.n, team.size())),
        parts_((f.n + part_ - 1) / part_),
        to_target_(f.n),
        correlation_(f.n),
        open_(f.n, 1),
        best_(parts_),
        pick_(f.R * (f.C + f.D)),
        fit_(ridge, [this](int64_t a, int64_t b) { return columns_[std::max(a, b)][picks_[std::min(a, b)]]; }) {}

  void run() {
    team_.lead([&] {
      Stopwatch watch;
      share([&](Span own, int64_t) {
        for (int64_t i = own.begin; i < own.end; ++i) to_target_[i] = correlation(i, target_);
      });
      double top = 0.0;
      for (const double v : to_target_) top = std::max(top, std::abs(v));
      while (int64_t(fit_.passive().size()) < budget_) {
        const int64_t pick = select(kTolerance * top);
        if (pick < 0) break;
        add_column(pick);
        seconds_.correlations += watch.lap();
        const bool go_on = refit();
        seconds_.refit += watch.lap();
        if (!go_on) break;
      }
      polish();
      seconds_.refit += watch.lap();
    });
  }

  // Picks with a positive weight in pick order, written to the outputs; returns how many
  int64_t write(int64_t* indices, double* weights, double* gains) const {
    int64_t count = 0;
    for (int64_t a = 0; a < int64_t(weights_.size()); ++a) {
      if (!(weights_[a] > 0.0)) continue;
      indices[count] = f_.members[picks_[a]];
      weights[count] = weights_[a];
      gains[count++] = gains_[a];
    }
    return count;
  }
  const Seconds& seconds() const { return seconds_; }

 private:
  static int64_t part_of(int64_t n, int threads) {
    const int64_t steps = (n + kStep - 1) / kStep;
    return std::max<int64_t>(1, (steps + 8 * threads - 1) / (8 * threads)) * kStep;
  }
  template <class Work>
  void share(const Work& work) {
    team_.share(parts_, [&](int64_t p, int) { work(Span{p * part_, std::min(f_.n, (p + 1) * part_)}, p); });
  }

  // <g_i, m> with m [C, D (+1)]
  double correlation(int64_t i, const double* m) const {
    double sum = 0.0;
    for (int64_t a = 0; a < f_.R; ++a) {
      const T *r = f_.residual(i, a), *h = f_.feature(i, a);
      for (int64_t c = 0; c < f_.C; ++c) {
        const double* row = m + c * width_;
        sum += double(r[c]) * (k_.dot(h, row, f_.D) + (f_.bias ? row[f_.D] : 0.0));
      }
    }
    return sum;
  }

  // The open sample with the largest inner product with what is left of the target, the lowest among equals; or -1
  int64_t select(double floor) {
    share([&](Span own, int64_t p) {
      std::copy(to_target_.begin() + own.begin, to_target_.begin() + own.end, correlation_.begin() + own.begin);
      double_kernels().subtract(correlation_.data(), used_columns_.data(), used_weights_.data(),
                                int64_t(used_columns_.size()), own.begin, own.end);
      int64_t best = -1;
      for (int64_t i = own.begin; i < own.end; ++i)
        if (open_[i] && (best < 0 || correlation_[i] > correlation_[best])) best = i;
      best_[p] = best;
    });
    int64_t best = -1;
    for (const int64_t i : best_)
      if (i >= 0 && (best < 0 || correlation_[i] > correlation_[best])) best = i;
    return best >= 0 && correlation_[best] > floor ? best : -1;
  }

  // A new atom with its inner products with every sample
  void add_column(int64_t pick) {
    open_[pick] = 0;
    picks_.push_back(pick);
    columns_.emplace_back(f_.n);
    double *r = pick_.data(), *h = r + f_.R * f_.C, *out = columns_.back().data();
    std::copy_n(f_.residual(pick, 0), f_.R * f_.C, r);
    std::copy_n(f_.feature(pick, 0), f_.R * f_.D, h);
    share([&](Span own, int64_t) {
      for (int64_t i = own.begin; i < own.end; ++i) {
        double sum = 0.0;
        for (int64_t b = 0; b < f_.R; ++b)
          for (int64_t a = 0; a < f_.R; ++a)
            sum += k_.dot(f_.residual(i, b), r + a * f_.C, f_.C) *
                   (k_.dot(f_.feature(i, b), h + a * f_.D, f_.D) + double(f_.bias));
        out[i] = sum;
      }
    });
  }

  // Weights with the newest atom; false when the search is over
  bool refit() {
    if (!fit_.append(to_target_[picks_.back()])) {  // depends on the atoms in use: no direction of its own
      picks_.pop_back();
      columns_.pop_back();
      return true;
    }
    fit_.solve();
    if (int64_t(fit_.passive().size()) > budget_) return false;  // dropped atoms came back: the last solution stands
    const double objective = fit_.objective();
    gains_.push_back(objective_ - objective);
    objective_ = objective;
    weights_ = fit_.weights();
    used_columns_.clear();
    used_weights_.clear();
    for (size_t a = 0; a < weights_.size(); ++a) {
      if (!(weights_[a] > 0.0)) continue;
      used_columns_.push_back(columns_[a].data());
      used_weights_.push_back(weights_[a]);
    }
    return true;
  }

  // One step of iterative refinement with the residual formed from the factors, kept where all weights stay >= 0
  void polish() {
    if (used_weights_.empty()) return;
    NonNegativeLeastSquares rebuilt(ridge_, [this](int64_t a, int64_t b) {
      return columns_[std::max(used_[a], used_[b])][picks_[std::min(used_[a], used_[b])]];
    });
    const bool current = fit_.weights() == weights_;
    used_ = fit_.passive();
    if (!current) {
      used_.clear();
      for (size_t a = 0; a < weights_.size(); ++a)
        if (weights_[a] > 0.0) used_.push_back(int64_t(a));
      for (const int64_t a : used_)
        if (!rebuilt.append(to_target_[picks_[a]])) return;
    }
    std::vector<double> residual(target_, target_ + f_.C * width_), gradient(used_.size());
    constexpr int64_t kColumns = 64;
    team_.share(f_.D / kColumns + 1, [&](int64_t p, int) {
      subtract_total({p * kColumns, std::min(f_.D, (p + 1) * kColumns)}, p == 0, residual.data());
    });
    team_.share(int64_t(used_.size()), [&](int64_t p, int) {
      gradient[p] = correlation(picks_[used_[p]], residual.data()) - ridge_ * weights_[used_[p]];
    });
    std::vector<double> refined = (current ? fit_ : rebuilt).solve_passive(std::move(gradient));
    for (size_t p = 0; p < used_.size(); ++p) refined[p] += weights_[used_[p]];
    if (!std::all_of(refined.begin(), refined.end(), [](double w) { return w >= 0.0; })) return;
    for (size_t p = 0; p < used_.size(); ++p) weights_[used_[p]] = refined[p];
  }

  // Takes the weighted sum of the gradients off `out` [C, D (+1)], in the columns of this share
  void subtract_total(Span columns, bool with_bias, double* out) const {
    for (const int64_t atom : used_)
      for (int64_t a = 0; a < f_.R; ++a) {
        const T *r = f_.residual(picks_[atom], a), *h = f_.feature(picks_[atom], a);
        for (int64_t c = 0; c < f_.C; ++c) {
          const double factor = weights_[atom] * double(r[c]);
          double* row = out + c * width_;
          for (int64_t d = columns.begin; d < columns.end; ++d) row[d] -= factor * double(h[d]);
          if (with_bias && f_.bias) row[f_.D] -= factor;
        }
      }
  }

  Team& team_;
  const Factors<T> f_;
  const Kernels<T>& k_;
  const double* const target_;
  const int64_t width_, budget_;
  const double ridge_;
  const int64_t part_, parts_;  // samples in a part that one member takes at a time; how many parts
  std::vector<double> to_target_, correlation_;
  std::vector<char> open_;                 // samples that have not joined
  std::vector<int64_t> best_;              // of each part
  std::vector<double> pick_;               // factors of the newest pick
  NonNegativeLeastSquares fit_;
  std::vector<int64_t> picks_, used_;      // samples that joined; atoms in use, in the order of the factor
  std::vector<Buffer<double>> columns_;    // Gram column of each pick
  std::vector<double> gains_, weights_;    // by pick; of the best solution
  std::vector<const double*> used_columns_;
  std::vector<double> used_weights_;
  double objective_ = 0.0;
  Seconds seconds_;
};

template <class T>
Seconds match_all(const FactorTensors& factors, const Problems& problems, const at::Tensor& targets, double ridge,
                  Tensors4& out) {
  int64_t* indices = std::get<0>(out).mutable_data_ptr<int64_t>();
  double* weights = std::get<1>(out).mutable_data_ptr<double>();
  double* gains = std::get<2>(out).mutable_data_ptr<double>();
  int64_t* counts = std::get<3>(out).mutable_data_ptr<int64_t>();
  std::vector<int64_t> found(problems.count(), 0);
  std::vector<std::vector<double>> w(problems.count()), g(problems.count());
  std::vector<std::vector<int64_t>> ids(problems.count());
  const auto match = [&](Team& team, int64_t i) -> Seconds {
    const int64_t n = problems.size(i), k = problems.budgets[i];
    if (n == 0 || k == 0) return {};
    const double* target = targets.const_data_ptr<double>() + i * targets.size(1) * targets.size(2);
    Matcher<T> matcher(team, factors.group<T>(problems.group(i), n), target, k, ridge);
    matcher.run();
    ids[i].resize(k), w[i].resize(k), g[i].resize(k);
    found[i] = matcher.write(ids[i].data(), w[i].data(), g[i].data());
    return matcher.seconds();
  };
  const int count = threads();
  Seconds seconds;
  if (count == 1 || problems.count() < 2 * count) {
    Team team(count);
    for (int64_t i = 0; i < problems.count(); ++i) seconds.add(match(team, i), 1);
  } else {
    std::vector<int64_t> order(problems.count());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return problems.budgets[a] > problems.budgets[b]; });
    std::atomic<size_t> next{0};
    std::vector<Seconds> each(count);
    Team side_by_side(count);
    side_by_side.run([&](int rank) {
      Team alone(1);
      for (size_t i = next.fetch_add(1); i < order.size(); i = next.fetch_add(1)) each[rank].add(match(alone, order[i]), 1);
    });
    for (const Seconds& s : each) seconds.add(s, count);
  }
  for (int64_t i = 0; i < problems.count(); ++i) {
    std::copy_n(ids[i].data(), found[i], indices + problems.starts[i]);
    std::copy_n(w[i].data(), found[i], weights + problems.starts[i]);
    std::copy_n(g[i].data(), found[i], gains + problems.starts[i]);
    counts[i] = found[i];
  }
  return seconds;
}

}  // namespace

Tensors4 gradient_matching_cpu(const at::Tensor& residuals, const at::Tensor& features, bool bias,
                               const at::Tensor& members, const at::Tensor& offsets, const at::Tensor& budgets,
                               int64_t budget, const at::Tensor& targets, double ridge) {
  const FactorTensors factors(residuals, features, bias);
  check_same_device(members, "members", residuals, "residuals");
  const Problems problems = check_problems(residuals.size(0), members, offsets, budgets, budget);
  check_same_device(targets, "targets", residuals, "residuals");
  check_floating(targets, "targets");
  const std::vector<int64_t> shape{problems.count(), residuals.size(2), features.size(2) + int64_t(bias)};
  TORCH_CHECK_VALUE(targets.sizes() == at::IntArrayRef(shape), "targets must be [G, C, D (+1)], ", at::IntArrayRef(shape),
                    "; got ", targets.sizes());
  TORCH_CHECK_VALUE(std::isfinite(ridge) && ridge >= 0.0, "ridge must be finite and >= 0; got ", ridge);
  const at::Tensor goals = targets.detach().to(at::kDouble).contiguous();
  Tensors4 out{at::full({budget}, -1, at::kLong), at::zeros({budget}, at::kDouble), at::zeros({budget}, at::kDouble),
               at::zeros({problems.count()}, at::kLong)};
  const Seconds seconds = factors.is_double() ? match_all<double>(factors, problems, goals, ridge, out)
                                              : match_all<float>(factors, problems, goals, ridge, out);
  stage_seconds()["correlations"] += seconds.correlations;
  stage_seconds()["refit"] += seconds.refit;
  return out;
}

}  // namespace acs_fast
