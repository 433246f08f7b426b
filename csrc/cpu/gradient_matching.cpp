// Non-negative orthogonal matching pursuit in Gram space: all threads on correlations and Gram columns, one on the refit.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "factors.h"
#include "matching_part.h"
#include "nnls.h"
#include "ops.h"
#include "stages.h"

namespace acs_fast {
namespace {

constexpr double kTolerance = 1e-10;  // of an inner product with the residual, relative to the largest with the target
constexpr int64_t kStep = 64;         // parts of the samples begin at its multiples
constexpr int64_t kAhead = 4;         // Gram columns taken in one pass: the next picks are mostly among the best now

struct Seconds {
  double correlations = 0.0, refit = 0.0;
  void add(const Seconds& s, int share) {
    correlations += s.correlations / share;
    refit += s.refit / share;
  }
};

struct Output {
  int64_t* indices;
  double *weights, *gains;
  int64_t* counts;
};

// One group; every sum over samples or factors is the same chain of operations for every number of threads, and of
// processes, each of which takes the correlations of some samples.
template <class T>
class Matcher {
 public:
  Matcher(Team& team, const Factors<T>& f, const double* target, int64_t budget, double ridge, Span own,
          const Meeting* meeting)
      : team_(team),
        f_(f),
        k_(kernels<T>()),
        target_(target),
        width_(f.D + f.bias),
        budget_(budget),
        ridge_(ridge),
        own_(own),
        meeting_(meeting),
        part_(part_of(own.end - own.begin, team.size())),
        parts_((own.end - own.begin + part_ - 1) / part_),
        by_residual_(residual_is_cheaper(f, budget)),
        to_target_(f.n),
        correlation_(f.n),
        open_(f.n, 1),
        column_of_(f.n, nullptr),
        fit_(ridge) {}

  void run() {
    team_.lead([&] {
      Stopwatch watch;
      share([&](Span own, int64_t) {
        for (int64_t i = own.begin; i < own.end; ++i) to_target_[i] = correlation(i, target_);
      });
      double top = 0.0;
      for (const double v : to_target_) top = std::max(top, std::abs(v));
      if (meeting_) top = meeting_->largest(top);
      while (int64_t(fit_.passive().size()) < budget_) {
        const int64_t pick = select(kTolerance * top);
        if (pick < 0) break;
        const std::vector<double> inner = join(pick);
        seconds_.correlations += watch.lap();
        const bool go_on = refit(inner.data());
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
  // What is left of the inner products with the target costs either a pass over the Gram columns of all picks, which
  // are as long as there are samples, or one over the factors with the residual matrix, which keeps no long columns.
  static bool residual_is_cheaper(const Factors<T>& f, int64_t budget) {
    constexpr double kMemory = 3.0;  // a product with a number from memory, in products with one from a cache
    const double n = double(f.n), picks = 0.5 * double(budget), width = double(f.C + f.D) * double(f.R * f.R);
    const double by_columns = kMemory * picks * n + n * width;
    return double(f.R * f.C * f.D) * (n + picks) + picks * width < by_columns;
  }
  static int64_t part_of(int64_t n, int threads) {
    const int64_t steps = (n + kStep - 1) / kStep;
    return std::max<int64_t>(1, (steps + 8 * threads - 1) / (8 * threads)) * kStep;
  }
  template <class Work>
  void share(const Work& work) {
    team_.share(parts_, [&](int64_t p, int) {
      work(Span{own_.begin + p * part_, std::min(own_.end, own_.begin + (p + 1) * part_)}, p);
    });
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

  // The inner products of samples with what is left of the target
  void correlate() {
    if (by_residual_) {
      residual_.assign(target_, target_ + f_.C * width_);
      subtract_total(used_, residual_.data());
      share([&](Span own, int64_t) {
        for (int64_t i = own.begin; i < own.end; ++i) correlation_[i] = correlation(i, residual_.data());
      });
      return;
    }
    std::vector<const double*> columns;
    std::vector<double> weights;
    for (const int64_t a : used_) {
      columns.push_back(column_of_[picks_[a]]);
      weights.push_back(weights_[a]);
    }
    share([&](Span own, int64_t) {
      std::copy(to_target_.begin() + own.begin, to_target_.begin() + own.end, correlation_.begin() + own.begin);
      double_kernels().subtract(correlation_.data(), columns.data(), weights.data(), int64_t(columns.size()), own.begin,
                                own.end);
    });
  }

  // The open sample with the largest inner product with what is left of the target, the lowest among equals; or -1
  int64_t select(double floor) {
    correlate();
    int64_t best = -1;
    for (int64_t i = own_.begin; i < own_.end; ++i)
      if (open_[i] && (best < 0 || correlation_[i] > correlation_[best])) best = i;
    Leader leader{best, best < 0 ? 0.0 : correlation_[best], best < 0 ? 0.0 : to_target_[best]};
    if (meeting_) leader = meeting_->best(leader);
    if (leader.sample < 0 || !(leader.correlation > floor)) return -1;
    to_target_[leader.sample] = leader.to_target;
    return leader.sample;
  }

  // A new atom; returns its inner products with the atoms before it, then with itself
  std::vector<double> join(int64_t pick) {
    open_[pick] = 0;
    picks_.push_back(pick);
    std::vector<double> inner(picks_.size());
    if (!by_residual_ && !column_of_[pick]) add_columns(pick);
    if (by_residual_ || meeting_) {
      gram_columns({pick}, {0, int64_t(picks_.size())}, picks_.data(), {inner.data()});
      return inner;
    }
    for (size_t a = 0; a < picks_.size(); ++a) inner[a] = column_of_[pick][picks_[a]];
    return inner;
  }

  // Inner products with every sample, of the pick and of the open samples that come nearest to it
  void add_columns(int64_t pick) {
    std::vector<int64_t> wanted{pick};
    const int64_t count = std::min(kAhead, budget_ - int64_t(fit_.passive().size()));
    for (int64_t i = own_.begin; i < own_.end; ++i) {
      if (!open_[i] || column_of_[i]) continue;
      if (int64_t(wanted.size()) == count && !(count > 1 && correlation_[i] > correlation_[wanted.back()])) continue;
      if (int64_t(wanted.size()) == count) wanted.pop_back();
      wanted.push_back(i);
      for (size_t at = wanted.size() - 1; at > 1 && correlation_[wanted[at]] > correlation_[wanted[at - 1]]; --at)
        std::swap(wanted[at], wanted[at - 1]);
    }
    std::vector<double*> out;
    for (const int64_t i : wanted) {
      columns_.emplace_back(f_.n);  // of which the pages of this process's samples are touched
      out.push_back(column_of_[i] = columns_.back().data());
    }
    gram_columns(wanted, own_, nullptr, out);
  }

  // out[p][i] = inner product of samples columns[p] and rows[i], or i, for i in `span`
  void gram_columns(const std::vector<int64_t>& columns, Span span, const int64_t* rows, const std::vector<double*>& out) {
    const int64_t stride = f_.R * (f_.C + f_.D);
    std::vector<double> factors(columns.size() * stride);  // residuals, then features
    for (size_t p = 0; p < columns.size(); ++p) {
      std::copy_n(f_.residual(columns[p], 0), f_.R * f_.C, &factors[p * stride]);
      std::copy_n(f_.feature(columns[p], 0), f_.R * f_.D, &factors[p * stride + f_.R * f_.C]);
    }
    team_.share((span.end - span.begin + part_ - 1) / part_, [&](int64_t part, int) {
      const int64_t end = std::min(span.end, span.begin + (part + 1) * part_);
      for (int64_t i = span.begin + part * part_; i < end; i += kDotRows) {
        const int count = int(std::min<int64_t>(kDotRows, end - i));
        const int64_t samples[kDotRows] = {rows ? rows[i] : i, count < 2 ? 0 : rows ? rows[i + 1] : i + 1};
        for (size_t p = 0; p < columns.size(); p += kDotColumns)
          gram_block(samples, count, &factors[p * stride], int(std::min<size_t>(kDotColumns, columns.size() - p)),
                     out.data() + p, i);
      }
    });
  }

  void gram_block(const int64_t* samples, int rows, const double* factors, int columns, double* const* out, int64_t at) {
    const int64_t stride = f_.R * (f_.C + f_.D);
    double sums[kDotRows][kDotColumns] = {}, r[kDotRows][kDotColumns], h[kDotRows][kDotColumns];
    for (int64_t b = 0; b < f_.R; ++b)
      for (int64_t a = 0; a < f_.R; ++a) {
        const T *left_r[kDotRows], *left_h[kDotRows];
        const double *right_r[kDotColumns], *right_h[kDotColumns];
        for (int i = 0; i < rows; ++i) left_r[i] = f_.residual(samples[i], b), left_h[i] = f_.feature(samples[i], b);
        for (int p = 0; p < columns; ++p) {
          right_r[p] = factors + p * stride + a * f_.C;
          right_h[p] = factors + p * stride + f_.R * f_.C + a * f_.D;
        }
        k_.dots(left_r, rows, right_r, columns, f_.C, r);
        k_.dots(left_h, rows, right_h, columns, f_.D, h);
        for (int i = 0; i < rows; ++i)
          for (int p = 0; p < columns; ++p) sums[i][p] += r[i][p] * (h[i][p] + double(f_.bias));
      }
    for (int i = 0; i < rows; ++i)
      for (int p = 0; p < columns; ++p) out[p][at + i] = sums[i][p];
  }

  // Weights with the newest atom; false when the search is over
  bool refit(const double* inner) {
    if (!fit_.append(to_target_[picks_.back()], inner)) {  // depends on the atoms in use: no direction of its own
      picks_.pop_back();
      return true;
    }
    fit_.solve();
    if (int64_t(fit_.passive().size()) > budget_) return false;  // dropped atoms came back: the last solution stands
    const double objective = fit_.objective();
    gains_.push_back(objective_ - objective);
    objective_ = objective;
    weights_ = fit_.weights();
    used_.clear();
    for (size_t a = 0; a < weights_.size(); ++a)
      if (weights_[a] > 0.0) used_.push_back(int64_t(a));
    return true;
  }

  // One step of iterative refinement with the residual formed from the factors, kept where all weights stay >= 0
  void polish() {
    if (used_.empty()) return;
    const bool current = fit_.weights() == weights_;
    const std::vector<int64_t> atoms = current ? fit_.passive() : used_;  // in the order of the factor's rows
    NonNegativeLeastSquares rebuilt(ridge_);
    for (size_t p = 0; !current && p < atoms.size(); ++p) {
      std::vector<double> inner(p + 1);
      for (size_t q = 0; q <= p; ++q) inner[q] = fit_.gram(atoms[p], atoms[q]);
      if (!rebuilt.append(to_target_[picks_[atoms[p]]], inner.data())) return;
    }
    residual_.assign(target_, target_ + f_.C * width_);
    subtract_total(atoms, residual_.data());
    std::vector<double> gradient(atoms.size());
    team_.share(int64_t(atoms.size()), [&](int64_t p, int) {
      gradient[p] = correlation(picks_[atoms[p]], residual_.data()) - ridge_ * weights_[atoms[p]];
    });
    std::vector<double> refined = (current ? fit_ : rebuilt).solve_passive(std::move(gradient));
    for (size_t p = 0; p < atoms.size(); ++p) refined[p] += weights_[atoms[p]];
    if (!std::all_of(refined.begin(), refined.end(), [](double w) { return w >= 0.0; })) return;
    for (size_t p = 0; p < atoms.size(); ++p) weights_[atoms[p]] = refined[p];
  }

  // Takes the weighted sum of atoms' gradients off `out` [C, D (+1)]; each entry is one chain over the atoms
  void subtract_total(const std::vector<int64_t>& atoms, double* out) {
    constexpr int64_t kColumns = 64;
    team_.share(f_.D / kColumns + 1, [&](int64_t part, int) {
      const int64_t begin = part * kColumns, end = std::min(f_.D, begin + kColumns);
      for (const int64_t atom : atoms)
        for (int64_t a = 0; a < f_.R; ++a) {
          const T *r = f_.residual(picks_[atom], a), *h = f_.feature(picks_[atom], a);
          for (int64_t c = 0; c < f_.C; ++c) {
            const double factor = weights_[atom] * double(r[c]);
            double* row = out + c * width_;
            for (int64_t d = begin; d < end; ++d) row[d] -= factor * double(h[d]);
            if (part == 0 && f_.bias) row[f_.D] -= factor;
          }
        }
    });
  }

  Team& team_;
  const Factors<T> f_;
  const Kernels<T>& k_;
  const double* const target_;
  const int64_t width_, budget_;
  const double ridge_;
  const Span own_;  // the samples whose correlations this process takes
  const Meeting* const meeting_;  // with the other processes, or null
  const int64_t part_, parts_;  // samples in a part that one member takes at a time; how many parts
  const bool by_residual_;
  std::vector<double> to_target_, correlation_, residual_;
  std::vector<char> open_;               // samples that have not joined
  std::vector<Buffer<double>> columns_;  // inner products of a sample with every sample
  std::vector<double*> column_of_;       // by sample; null where there is none yet
  NonNegativeLeastSquares fit_;
  std::vector<int64_t> picks_;           // sample of each atom
  std::vector<double> gains_, weights_;  // of each atom, in the best solution
  std::vector<int64_t> used_;            // atoms with a positive weight in it
  double objective_ = 0.0;
  Seconds seconds_;
};

template <class T>
Seconds match_all(const FactorArrays& factors, const Problems& problems, const double* targets, double ridge,
                  int threads, const Output& out) {
  std::vector<int64_t> found(problems.count(), 0);
  std::vector<std::vector<double>> w(problems.count()), g(problems.count());
  std::vector<std::vector<int64_t>> ids(problems.count());
  const auto match = [&](Team& team, int64_t i) -> Seconds {
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
      for (size_t i = next.fetch_add(1); i < order.size(); i = next.fetch_add(1))
        each[rank].add(match(alone, order[i]), 1);
    });
    for (const Seconds& s : each) seconds.add(s, count);
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
  const Seconds seconds = factors.is_double ? match_all<double>(factors, problems, targets, ridge, threads, out)
                                            : match_all<float>(factors, problems, targets, ridge, threads, out);
  return {{"correlations", seconds.correlations}, {"refit", seconds.refit}};
}

}  // namespace acs_fast
