// Non-negative orthogonal matching pursuit in Gram space: all threads on correlations, Gram columns and the refit.
#pragma once

#include <algorithm>
#include <vector>

#include "correlations.h"
#include "matching_part.h"
#include "nnls.h"
#include "stages.h"

namespace acs_fast {

constexpr double kMatched = 1e-10;  // of an inner product with the residual, relative to the largest with the target

struct MatchingSeconds {
  double columns = 0.0, screening = 0.0, refit = 0.0;  // columns, screening: of the correlations, by how they are found
  void add(const MatchingSeconds& s, int share) {
    columns += s.columns / share;
    screening += s.screening / share;
    refit += s.refit / share;
  }
};

// One group, with the correlations of samples `own` taken here and, where there is a meeting, of the rest by others.
template <class T>
class Matcher {
 public:
  Matcher(Team& team, const Factors<T>& f, const double* target, int64_t budget, double ridge, Span own,
          const Meeting* meeting)
      : team_(team),
        members_(f.members),
        budget_(budget),
        ridge_(ridge),
        meeting_(meeting),
        correlations_(team, f, target, own),
        fit_(team, ridge) {}

  void run() {
    team_.lead([&] {
      Stopwatch watch;
      double top = correlations_.begin();
      if (meeting_) top = meeting_->largest(top);
      while (passive() < budget_) {
        Leader leader = correlations_.best(atoms_);
        if (meeting_) leader = meeting_->best(leader);
        if (leader.sample < 0 || !(leader.correlation > kMatched * top)) break;
        atoms_.picks.push_back(leader.sample);
        const std::vector<double> inner = correlations_.join(atoms_, leader.correlation, budget_ - passive() - 1);
        (correlations_.screening() ? seconds_.screening : seconds_.columns) += watch.lap();
        const bool go_on = refit(leader.to_target, inner.data());
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
    for (int64_t a = 0; a < int64_t(atoms_.weights.size()); ++a) {
      if (!(atoms_.weights[a] > 0.0)) continue;
      indices[count] = members_[atoms_.picks[a]];
      weights[count] = atoms_.weights[a];
      gains[count++] = gains_[a];
    }
    return count;
  }
  const MatchingSeconds& seconds() const { return seconds_; }

 private:
  int64_t passive() const { return fit_.passive_size(); }

  // Weights with the newest atom; false when the search is over
  bool refit(double to_target, const double* inner) {
    if (!fit_.append(to_target, inner)) {  // depends on the atoms in use: no direction of its own
      atoms_.picks.pop_back();
      return true;
    }
    to_target_.push_back(to_target);
    fit_.solve();
    if (passive() > budget_) return false;  // dropped atoms came back: the last solution stands
    const double objective = fit_.objective();
    gains_.push_back(objective_ - objective);
    objective_ = objective;
    atoms_.weights = fit_.weights();
    atoms_.used.clear();
    for (size_t a = 0; a < atoms_.weights.size(); ++a)
      if (atoms_.weights[a] > 0.0) atoms_.used.push_back(int64_t(a));
    return true;
  }

  // One step of iterative refinement with the residual formed from the factors, kept where all weights stay >= 0
  void polish() {
    std::vector<double>& weights = atoms_.weights;
    if (atoms_.used.empty()) return;
    const bool current = fit_.weights() == weights;
    const std::vector<int64_t> order = current ? fit_.passive() : atoms_.used;  // that of the factor's rows
    NonNegativeLeastSquares rebuilt(team_, ridge_);
    for (size_t p = 0; !current && p < order.size(); ++p) {
      std::vector<double> inner(p + 1);
      for (size_t q = 0; q <= p; ++q) inner[q] = fit_.gram(order[p], order[q]);
      if (!rebuilt.append(to_target_[order[p]], inner.data())) return;
    }
    std::vector<int64_t> samples;
    for (const int64_t a : order) samples.push_back(atoms_.picks[a]);
    std::vector<double> gradient = correlations_.of(samples, atoms_);
    for (size_t p = 0; p < order.size(); ++p) gradient[p] -= ridge_ * weights[order[p]];
    std::vector<double> refined = (current ? fit_ : rebuilt).solve_passive(std::move(gradient));
    for (size_t p = 0; p < order.size(); ++p) refined[p] += weights[order[p]];
    if (!std::all_of(refined.begin(), refined.end(), [](double w) { return w >= 0.0; })) return;
    for (size_t p = 0; p < order.size(); ++p) weights[order[p]] = refined[p];
  }

  Team& team_;
  const int64_t* const members_;
  const int64_t budget_;
  const double ridge_;
  const Meeting* const meeting_;  // with the other processes, or null
  Correlations<T> correlations_;
  NonNegativeLeastSquares fit_;
  Atoms atoms_;                    // with the weights of the best solution
  std::vector<double> to_target_;  // of each atom
  std::vector<double> gains_;      // of each atom with a weight
  double objective_ = 0.0;
  MatchingSeconds seconds_;
};

}  // namespace acs_fast
