// Non-negative least squares in Gram space over a growing set of atoms (Lawson and Hanson, warm-started).
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.h"
#include "kernels.h"
#include "team.h"

namespace acs_fast {

// Minimises w'Gw - 2c'w + ridge |w|^2 over w >= 0. Keeps the Cholesky factor U'U of the passive set (the atoms with a
// positive weight) and y = U'^-1 c: appending an atom is one forward substitution, dropping one a rotation of each row
// below it, and the weights of the passive set one backward substitution. All of them run along rows of U.
class NonNegativeLeastSquares {
 public:
  // Within the team's `lead`
  NonNegativeLeastSquares(Team& team, double ridge)
      : team_(team), ridge_(ridge), dot_(kernels<double>().dot), extra_(double_kernels()) {}

  // Adds an atom, given its inner products with the atoms there are, then with itself; false, and nothing added, when it
  // depends on the passive ones.
  bool append(double rhs, const double* inner);
  void solve();  // moves to the optimum over all atoms
  // G z = b on the passive set, in its order
  std::vector<double> solve_passive(std::vector<double> b) const;

  int64_t size() const { return int64_t(weights_.size()); }
  const std::vector<double>& weights() const { return weights_; }
  const std::vector<int64_t>& passive() const { return passive_; }
  double gram(int64_t a, int64_t b) const { return a < b ? gram_[b][a] : gram_[a][b]; }
  double objective() const;  // at an optimum, where w'(G + ridge)w = c'w = y'y

 private:
  // Row i of the factor, to be indexed by columns j >= i
  double* row(int64_t i) const { return factor_.data() + i * capacity_ - i * (i + 1) / 2; }
  void grow();
  bool activate(int64_t atom);
  double dual(int64_t atom) const;
  void descend();
  void drop(int64_t position);
  void forward(std::vector<double>& x) const;   // U'^-1 x
  void backward(std::vector<double>& z) const;  // U^-1 z

  Team& team_;
  const double ridge_;
  double (*const dot_)(const double*, const double*, int64_t);
  const DoubleKernels& extra_;
  std::vector<std::vector<double>> gram_;  // of an atom with those before it and itself
  std::vector<double> weights_, rhs_;      // by atom
  std::vector<char> is_passive_;           // by atom
  std::vector<int64_t> passive_;           // atoms in the order of the factor's rows
  std::vector<double> y_;
  Buffer<double> factor_;  // upper triangular, rows packed
  int64_t capacity_ = 0;
  double largest_rhs_ = 0.0;
};

}  // namespace acs_fast
