// The inner products of samples with what a growing sum of atoms leaves of a target: which sample has the largest.
#pragma once

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <vector>

#include "inner_products.h"
#include "matching_part.h"
#include "remainder.h"
#include "screen.h"

namespace acs_fast {

constexpr int64_t kStep = 64;      // parts of the samples begin at its multiples
constexpr double kBlurred = 0.25;  // of the best correlation: bounds of Gram columns that leave too many candidates
constexpr int64_t kAhead = 4;      // Gram columns taken in one pass: the next picks are mostly among the best now

// The sum so far. Atoms are numbered as they were picked.
struct Atoms {
  std::vector<int64_t> picks;   // sample of each atom
  std::vector<double> weights;  // of each atom but the newest
  std::vector<int64_t> used;    // atoms with a positive weight
};

// Of samples `own` of one group. Every sum over samples or factors is the same chain of operations for every number of
// threads, and of processes, each of which has some samples. All of it within the team's `lead`.
template <class T>
class Correlations {
 public:
  Correlations(Team& team, const Factors<T>& f, const double* target, Span own)
      : team_(team),
        f_(f),
        k_(kernels<T>()),
        double_dot_(kernels<double>().dot),
        target_(target),
        width_(f.D + f.bias),
        own_(own),
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
        screen_(f, own) {}

  // Those with the target itself; returns the largest magnitude
  double begin() {
    share([&](Span own, int64_t) {
      for (int64_t i = own.begin; i < own.end; ++i) to_target_[i] = correlation(i, target_, width_);
      screen_.pack(own);
    });
    double top = 0.0;
    for (const double v : to_target_) top = std::max(top, std::abs(v));
    return top;
  }

  // The sample, not an atom yet, with the largest one, the lowest among equals
  Leader best(const Atoms& atoms) {
    correlate(atoms);
    int64_t best = -1;
    for (const int64_t i : candidates_)
      if (best < 0 || correlation_[i] > correlation_[best]) best = i;
    return {best, best < 0 ? 0.0 : correlation_[best], best < 0 ? 0.0 : to_target_[best]};
  }

  // Inner products of the newest atom, of known correlation, with those before it, then with itself; at most so many more
  // will follow
  std::vector<double> join(const Atoms& atoms, double correlation, int64_t more) {
    const int64_t pick = atoms.picks.back();
    open_[pick] = 0;
    if (!screening_ && screen_.blur(pick) > kBlurred * correlation) screening_ = true;
    if (screening_) {
      constexpr int64_t kTogether = 64;
      const int64_t count = int64_t(atoms.picks.size());
      copy_factors(f_, pick, factors_[0].data());
      std::vector<double> inner(count);
      team_.share((count + kTogether - 1) / kTogether, [&](int64_t part, int) {
        const int64_t first = part * kTogether;
        inner_products(f_, atoms.picks.data() + first, std::min(kTogether, count - first), factors_[0].data(),
                       inner.data() + first);
      });
      return inner;
    }
    if (!column_of_[pick]) add_columns(pick, more);
    make_room(pick, atoms);
    extend_gram(pick, atoms, 0);
    return std::move(gram_[pick]);
  }

  // Of samples that are atoms, with what all atoms leave
  std::vector<double> of(const std::vector<int64_t>& samples, const Atoms& atoms) {
    update_remainder(atoms);
    std::vector<double> found(samples.size());
    team_.share(int64_t(samples.size()), [&](int64_t s, int) {
      found[s] = correlation(samples[s], remainder_.data(), remainder_.stride());
    });
    return found;
  }
  bool screening() const { return screening_; }

 private:
  // What is left of the inner products with the target costs either a pass over the Gram columns of the picks so far,
  // which are as long as there are samples, or blocked products with what is left, which do not grow with the picks.
  bool screening_is_cheaper(const Atoms& atoms) const {
    constexpr double kColumn = 1.0, kMemory = 4.0, kScreen = 0.6;  // costs of a product, in those of a blocked one
    const double n = double(f_.n), matrix = double(f_.R * f_.C * f_.D), picks = double(atoms.picks.size());
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
  double correlation_by_picks(int64_t i, const Atoms& atoms, int rank) {
    extend_gram(i, atoms, rank);
    return to_target_[i] - double_dot_(gram_[i].data(), atoms.weights.data(), int64_t(atoms.weights.size()));
  }

  // Takes the inner products of a sample with the newest picks, for which there is room
  void extend_gram(int64_t i, const Atoms& atoms, int rank) {
    const int64_t known = int64_t(gram_[i].size()), count = int64_t(atoms.picks.size());
    if (known == count) return;
    gram_[i].resize(count);
    copy_factors(f_, i, factors_[rank].data());
    inner_products(f_, atoms.picks.data() + known, count - known, factors_[rank].data(), gram_[i].data() + known);
  }
  void make_room(int64_t i, const Atoms& atoms) {
    if (gram_[i].capacity() < atoms.picks.size()) gram_[i].reserve(2 * atoms.picks.size());
  }

  void update_remainder(const Atoms& atoms) {
    remainder_.extend(atoms.picks);
    remainder_.set_weights(atoms.weights);
  }

  void open_screen(const Atoms& atoms) {
    if (screening_) {
      update_remainder(atoms);
      return screen_.open(remainder_.data(), remainder_.stride());
    }
    std::vector<const typename Screen<T>::Column*> columns;
    std::vector<double> weights;
    for (const int64_t a : atoms.used) {
      columns.push_back(column_of_[atoms.picks[a]]);
      weights.push_back(atoms.weights[a]);
    }
    screen_.open(columns, weights);
  }

  // Estimates with bounds rule out all but few samples, the candidates
  void correlate(const Atoms& atoms) {
    if (!screening_ && screening_is_cheaper(atoms)) screening_ = true;  // and stays so: later picks have no columns
    open_screen(atoms);
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
      for (const int64_t i : candidates_) make_room(i, atoms);
    team_.share(int64_t(candidates_.size()), [&](int64_t c, int rank) {
      const int64_t i = candidates_[c];
      correlation_[i] =
          screening_ ? correlation(i, remainder_.data(), remainder_.stride()) : correlation_by_picks(i, atoms, rank);
    });
  }

  // Estimates of the inner products with every sample, of the pick and of the open samples that come nearest to it
  void add_columns(int64_t pick, int64_t more) {
    std::vector<int64_t> wanted{pick};
    const int64_t count = std::min({kAhead, screen_.together(), more + 1});
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

  Team& team_;
  const Factors<T> f_;
  const Kernels<T>& k_;
  const decltype(Kernels<double>::dot) double_dot_;
  const double* const target_;
  const int64_t width_;  // D (+1)
  const Span own_;
  const int64_t part_, parts_;  // samples in a part that one member takes at a time; how many parts
  bool screening_ = false;      // instead of Gram columns
  std::vector<double> to_target_, correlation_, bounds_;
  std::vector<int64_t> candidates_;  // open samples with known correlations, of which the best is the best of all
  std::vector<char> open_;           // samples that are not atoms
  std::deque<typename Screen<T>::Column> columns_;
  std::vector<const typename Screen<T>::Column*> column_of_;  // by sample; null where there is none yet
  std::vector<std::vector<double>> gram_;  // by sample: its inner products with the first atoms, where they were needed
  std::vector<std::vector<double>> factors_;  // of one sample in float64, for each member of the team
  std::vector<double> lows_;                  // of each part of the samples, what its best open one reaches at least
  Remainder<T> remainder_;
  Screen<T> screen_;
};

}  // namespace acs_fast
