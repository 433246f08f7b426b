// Non-negative least squares in Gram space over a growing set of atoms (warm-started).
// Source: Portugal, Judice and Vicente, Mathematics of Computation 63, 1994 (whole sets); Lawson and Hanson, 1974.
#pragma once

#include <cstdint>
#include <vector>

#include "schur_complement.h"
#include "settled_factor.h"
#include "team.h"

namespace acs_fast {

// Minimises w'Gw - 2c'w + ridge |w|^2 over w >= 0. The passive set holds the atoms with a positive weight. Those of them
// with a weight that is not small are settled, in a Cholesky factor. Open are the few that come and go, and all that have
// no weight: what the settled ones leave of them is a small Schur complement, where they are moved at little cost. So
// weights are one backward substitution, a new atom one forward substitution, and only a settled atom that leaves costs
// rotations of the factor.
class NonNegativeLeastSquares {
 public:
  // Within the team's `lead`
  NonNegativeLeastSquares(Team& team, double ridge) : ridge_(ridge), dot_(kernels<double>().dot), factor_(team) {}

  // Adds an atom, given its inner products with the atoms there are, then with itself; false, and nothing added, when it
  // depends on the passive ones.
  bool append(double rhs, const double* inner);
  void solve();  // moves to the optimum over all atoms
  // G z = b on the passive set, in its order
  std::vector<double> solve_passive(std::vector<double> b) const;

  int64_t size() const { return int64_t(weights_.size()); }
  const std::vector<double>& weights() const { return weights_; }
  std::vector<int64_t> passive() const;
  int64_t passive_size() const { return int64_t(settled_.size() + rest_.passive().size()); }
  double gram(int64_t a, int64_t b) const { return a < b ? gram_[b][a] : gram_[a][b]; }
  double objective() const;  // at an optimum, where w'(G + ridge)w = c'w = y'y

 private:
  bool join(const std::vector<int64_t>& entering);
  std::vector<int64_t> rising() const;
  void shrink();
  bool settled_are_positive();
  void descend();
  void settle();
  void unsettle(int64_t position);
  std::vector<double> open_weights();
  double tolerance() const;  // of the duals

  const double ridge_;
  double (*const dot_)(const double*, const double*, int64_t);
  std::vector<std::vector<double>> gram_;  // of an atom with those before it and itself
  std::vector<double> weights_;            // by atom
  std::vector<int64_t> settled_, open_;    // atoms in the order of the factor's rows, and of `rest_`
  SettledFactor factor_;
  SchurComplement rest_;  // what the settled atoms leave of the open ones
  double largest_rhs_ = 0.0;
};

}  // namespace acs_fast
