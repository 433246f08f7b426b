// Non-negative orthogonal matching pursuit in Gram space: all threads on correlations, Gram columns and the refit.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "inner_products.h"
#include "matching_part.h"
#include "nnls.h"
#include "remainder.h"
#include "screen.h"
#include "stages.h"

namespace acs_fast {

constexpr double kMatched = 1e-10;  // of an inner product with the residual, relative to the largest with the target
constexpr int64_t kStep = 64;         // parts of the samples begin at its multiples
constexpr int64_t kAhead = 4;         // Gram columns taken in one pass: the next picks are mostly among the best now

struct MatchingSeconds {
  double columns = 0.0, screening = 0.0, refit = 0.0;  // columns, screening: of the correlations, by how they are found
  void add(const MatchingSeconds& s, int share) {
    columns += s.columns / share;
    screening += s.screening / share;
    refit += s.refit / share;
  }
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
        to_target_(f.n),
        correlation_(f.n),
        open_(f.n, 1),
        column_of_(f.n, nullptr),
        lows_(parts_),
        remainder_(team, f, target),
        screen_(f, own),
        fit_(team, ridge) {}

  void run() {
    team_.lead([&] {
      Stopwatch watch;
      share([&](Span own, int64_t) {
        for (int64_t i = own.begin; i < own.end; ++i) to_target_[i] = correlation(i, target_, width_);
      });
      double top = 0.0;
      for (const double v : to_target_) top = std::max(top, std::abs(v));
      if (meeting_) top = meeting_->largest(top);
      while (int64_t(fit_.passive().size()) < budget_) {
        const int64_t pick = select(kMatched * top);
        if (pick < 0) break;
        const std::vector<double> inner = join(pick);
        (screening_ ? seconds_.screening : seconds_.columns) += watch.lap();
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
  const MatchingSeconds& seconds() const { return seconds_; }

 private:
  // What is left of the inner products with the target costs either a pass over the Gram columns of the picks so far,
  // which are as long as there are samples, or a screening by blocked products, which does not grow with the picks.
  bool screening_is_cheaper() const {
    constexpr double kColumn = 2.0, kMemory = 8.0, kScreen = 0.6;  // costs of a product, in those of a blocked one
    const double n = double(f_.n), matrix = double(f_.R * f_.C * f_.D), picks = double(picks_.size());
    const double columns = n * (kColumn * double(f_.R * f_.R * (f_.C + f_.D)) + kMemory * picks);
    return kScreen * n * matrix + picks * matrix < columns;
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
  double correlation(int64_t i, const double* m, int64_t stride) const {
    double sum = 0.0;
    for (int64_t a = 0; a < f_.R; ++a) {
      const T *r = f_.residual(i, a), *h = f_.feature(i, a);
      for (int64_t c = 0; c < f_.C; ++c) {
        const double* row = m + c * stride;
        sum += double(r[c]) * (k_.dot(h, row, f_.D) + (f_.bias ? row[f_.D] : 0.0));
      }
    }
    return sum;
  }

  // What the atoms leave of the target
  void update_remainder() {
    remainder_.extend(picks_);
    remainder_.set_weights(weights_);
  }

  // The inner products of samples with what is left of the target, by the Gram columns of the picks
  void correlate_by_columns() {
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
    candidates_.clear();
    for (int64_t i = own_.begin; i < own_.end; ++i)
      if (open_[i]) candidates_.push_back(i);
  }

  // The same for the few samples that can have the largest one: estimates with bounds rule the others out
  void correlate_by_screening() {
    update_remainder();
    screen_.open(remainder_.data(), remainder_.stride());
    share([&](Span own, int64_t p) {
      screen_.estimate(own, correlation_.data() + own.begin, bounds_.data() + own.begin);
      lows_[p] = -std::numeric_limits<double>::infinity();
      for (int64_t i = own.begin; i < own.end; ++i)
        if (open_[i]) lows_[p] = std::max(lows_[p], correlation_[i] - bounds_[i]);
    });
    double low = -std::numeric_limits<double>::infinity();
    for (const double v : lows_) low = std::max(low, v);
    candidates_.clear();
    for (int64_t i = own_.begin; i < own_.end; ++i)
      if (open_[i] && !(correlation_[i] + bounds_[i] < low)) candidates_.push_back(i);
    team_.share(int64_t(candidates_.size()), [&](int64_t c, int) {
      correlation_[candidates_[c]] = correlation(candidates_[c], remainder_.data(), remainder_.stride());
    });
  }

  // Columns first; once screening is cheaper it stays so, and the columns of later picks are never formed
  void correlate() {
    if (!screening_ && screening_is_cheaper()) {
      screening_ = true;
      bounds_.resize(f_.n);
      share([&](Span own, int64_t) { screen_.pack(own); });
    }
    if (screening_)
      correlate_by_screening();
    else
      correlate_by_columns();
  }

  // The open sample with the largest inner product with what is left of the target, the lowest among equals; or -1
  int64_t select(double floor) {
    correlate();
    int64_t best = -1;
    for (const int64_t i : candidates_)
      if (best < 0 || correlation_[i] > correlation_[best]) best = i;
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
    if (!screening_ && !column_of_[pick]) add_columns(pick);
    if (screening_ || meeting_) {
      gram_columns(team_, f_, {pick}, {0, int64_t(picks_.size())}, part_, picks_.data(), {inner.data()});
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
    gram_columns(team_, f_, wanted, own_, part_, nullptr, out);
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
    NonNegativeLeastSquares rebuilt(team_, ridge_);
    for (size_t p = 0; !current && p < atoms.size(); ++p) {
      std::vector<double> inner(p + 1);
      for (size_t q = 0; q <= p; ++q) inner[q] = fit_.gram(atoms[p], atoms[q]);
      if (!rebuilt.append(to_target_[picks_[atoms[p]]], inner.data())) return;
    }
    update_remainder();
    std::vector<double> gradient(atoms.size());
    team_.share(int64_t(atoms.size()), [&](int64_t p, int) {
      gradient[p] = correlation(picks_[atoms[p]], remainder_.data(), remainder_.stride()) - ridge_ * weights_[atoms[p]];
    });
    std::vector<double> refined = (current ? fit_ : rebuilt).solve_passive(std::move(gradient));
    for (size_t p = 0; p < atoms.size(); ++p) refined[p] += weights_[atoms[p]];
    if (!std::all_of(refined.begin(), refined.end(), [](double w) { return w >= 0.0; })) return;
    for (size_t p = 0; p < atoms.size(); ++p) weights_[atoms[p]] = refined[p];
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
  bool screening_ = false;  // instead of Gram columns
  std::vector<double> to_target_, correlation_, bounds_;
  std::vector<double> lows_;             // of each part, what its best open sample reaches at least
  std::vector<int64_t> candidates_;      // open samples with known correlations, of which the best is the best of all
  std::vector<char> open_;               // samples that have not joined
  std::vector<Buffer<double>> columns_;  // inner products of a sample with every sample
  std::vector<double*> column_of_;       // by sample; null where there is none yet
  Remainder<T> remainder_;
  Screen<T> screen_;
  NonNegativeLeastSquares fit_;
  std::vector<int64_t> picks_;           // sample of each atom
  std::vector<double> gains_, weights_;  // of each atom, in the best solution
  std::vector<int64_t> used_;            // atoms with a positive weight in it
  double objective_ = 0.0;
  MatchingSeconds seconds_;
};

}  // namespace acs_fast
