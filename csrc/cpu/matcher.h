// Non-negative orthogonal matching pursuit in Gram space: all threads on correlations, Gram columns and the refit.
#pragma once

#include <algorithm>
#include <cmath>
#include <deque>
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
        double_dot_(kernels<double>().dot),
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
        bounds_(f.n),
        open_(f.n, 1),
        column_of_(f.n, nullptr),
        gram_(f.n),
        factors_(team.size(), std::vector<double>(f.R * (f.C + f.D))),
        lows_(parts_),
        remainder_(team, f, target),
        screen_(f, own),
        fit_(team, ridge) {}

  void run() {
    team_.lead([&] {
      Stopwatch watch;
      share([&](Span own, int64_t) {
        for (int64_t i = own.begin; i < own.end; ++i) to_target_[i] = correlation(i, target_, width_);
        screen_.pack(own);
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
  // which are as long as there are samples, or blocked products with what is left, which do not grow with the picks.
  bool screening_is_cheaper() const {
    constexpr double kColumn = 1.0, kMemory = 4.0, kScreen = 0.6;  // costs of a product, in those of a blocked one
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

  // <g_i, what is left> by the inner products with the picks, which are kept from pick to pick
  double correlation_by_picks(int64_t i, int rank) {
    extend_gram(i, rank);
    return to_target_[i] - double_dot_(gram_[i].data(), weights_.data(), int64_t(weights_.size()));
  }

  // Takes the inner products of a sample with the newest picks, for which there is room
  void extend_gram(int64_t i, int rank) {
    const int64_t known = int64_t(gram_[i].size()), count = int64_t(picks_.size());
    if (known == count) return;
    gram_[i].resize(count);
    copy_factors(f_, i, factors_[rank].data());
    inner_products(f_, picks_.data() + known, count - known, factors_[rank].data(), gram_[i].data() + known);
  }
  void make_room(int64_t i) {
    if (gram_[i].capacity() < picks_.size()) gram_[i].reserve(2 * picks_.size());
  }

  // What the atoms leave of the target
  void update_remainder() {
    remainder_.extend(picks_);
    remainder_.set_weights(weights_);
  }

  void open_screen() {
    if (screening_) {
      update_remainder();
      return screen_.open(remainder_.data(), remainder_.stride());
    }
    std::vector<const typename Screen<T>::Column*> columns;
    std::vector<double> weights;
    for (const int64_t a : used_) {
      columns.push_back(column_of_[picks_[a]]);
      weights.push_back(weights_[a]);
    }
    screen_.open(columns, weights);
  }

  // The inner products of samples with what is left of the target: estimates with bounds rule out all but few samples
  void correlate() {
    if (!screening_ && screening_is_cheaper()) screening_ = true;  // and stays so: later picks have no columns
    open_screen();
    share([&](Span own, int64_t p) {
      double *estimates = correlation_.data() + own.begin, *bounds = bounds_.data() + own.begin;
      if (screening_)
        screen_.estimate(own, estimates, bounds);
      else
        screen_.estimate(own, to_target_.data() + own.begin, estimates, bounds);
      double low = -std::numeric_limits<double>::infinity();
      for (int64_t i = 0; i < own.end - own.begin; ++i)
        if (open_[own.begin + i]) low = std::max(low, estimates[i] - bounds[i]);
      lows_[p] = low;
    });
    double low = -std::numeric_limits<double>::infinity();
    for (const double v : lows_) low = std::max(low, v);
    candidates_.clear();
    for (int64_t i = own_.begin; i < own_.end; ++i)
      if (open_[i] && !(correlation_[i] + bounds_[i] < low)) candidates_.push_back(i);
    if (!screening_)
      for (const int64_t i : candidates_) make_room(i);
    team_.share(int64_t(candidates_.size()), [&](int64_t c, int rank) {
      const int64_t i = candidates_[c];
      correlation_[i] =
          screening_ ? correlation(i, remainder_.data(), remainder_.stride()) : correlation_by_picks(i, rank);
    });
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
    if (screening_) {
      constexpr int64_t kTogether = 64;
      const int64_t count = int64_t(picks_.size());
      copy_factors(f_, pick, factors_[0].data());
      std::vector<double> inner(count);
      team_.share((count + kTogether - 1) / kTogether, [&](int64_t part, int) {
        const int64_t first = part * kTogether;
        inner_products(f_, picks_.data() + first, std::min(kTogether, count - first), factors_[0].data(),
                       inner.data() + first);
      });
      return inner;
    }
    if (!column_of_[pick]) add_columns(pick);
    make_room(pick);
    extend_gram(pick, 0);
    return std::move(gram_[pick]);
  }

  // Estimates of the inner products with every sample, of the pick and of the open samples that come nearest to it
  void add_columns(int64_t pick) {
    std::vector<int64_t> wanted{pick};
    const int64_t count = std::min({kAhead, screen_.together(), budget_ - int64_t(fit_.passive().size())});
    for (int64_t i = own_.begin; i < own_.end; ++i) {
      if (!open_[i] || column_of_[i]) continue;
      if (int64_t(wanted.size()) == count && !(count > 1 && correlation_[i] > correlation_[wanted.back()])) continue;
      if (int64_t(wanted.size()) == count) wanted.pop_back();
      wanted.push_back(i);
      for (size_t at = wanted.size() - 1; at > 1 && correlation_[wanted[at]] > correlation_[wanted[at - 1]]; --at)
        std::swap(wanted[at], wanted[at - 1]);
    }
    std::vector<typename Screen<T>::Column> columns = screen_.open_columns(wanted);
    share([&](Span own, int64_t) { screen_.fill_columns(own, columns); });
    for (size_t p = 0; p < wanted.size(); ++p) {
      columns_.push_back(std::move(columns[p]));
      column_of_[wanted[p]] = &columns_.back();
    }
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
  const decltype(Kernels<double>::dot) double_dot_;
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
  std::deque<typename Screen<T>::Column> columns_;
  std::vector<const typename Screen<T>::Column*> column_of_;  // by sample; null where there is none yet
  std::vector<std::vector<double>> gram_;  // by sample: its inner products with the first picks, where they were needed
  std::vector<std::vector<double>> factors_;  // of one sample in float64, for each member of the team
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
