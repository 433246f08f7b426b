// Non-negative least squares in Gram space over a growing set of atoms (warm-started).
// Source: Portugal, Judice and Vicente, Mathematics of Computation 63, 1994 (whole sets); Lawson and Hanson, 1974.
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.h"
#include "kernels.h"
#include "team.h"

namespace acs_fast {

// Minimises w'Gw - 2c'w + ridge |w|^2 over w >= 0. Keeps the Cholesky factor U'U of the passive set (the atoms with a
// positive weight) and y = U'^-1 c: appending an atom is one forward substitution, dropping one a rotation of each row
// below it, and the weights of the passive set one backward substitution. All of them run along rows of U. An atom that has
// left mostly comes back soon: its substitution is kept, turned as the rows are, and only what has joined since is missing.
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
  struct Rotation {
    double c, s;
  };
  // Row i of the factor, to be indexed by columns j >= i
  double* row(int64_t i) const { return factor_.data() + i * capacity_ - i * (i + 1) / 2; }
  void grow();
  int64_t activate(const std::vector<int64_t>& atoms);
  std::vector<int64_t> rising() const;
  void shrink();
  void descend();
  void drop(int64_t position);
  static void turn(std::vector<double>& x, int64_t position, const std::vector<Rotation>& rotations);
  // U'^-1 x for the rows of x [count, m], of each of which the first entries are solved already: multiples of a block
  void forward(double* x, int64_t m, const std::vector<int64_t>& solved) const;
  // U^-1 z from the last entry on, whole or until a block has one that is not positive; returns the first one known
  int64_t backward(std::vector<double>& z, bool while_positive) const;

  Team& team_;
  const double ridge_;
  double (*const dot_)(const double*, const double*, int64_t);
  const DoubleKernels& extra_;
  std::vector<std::vector<double>> gram_;     // of an atom with those before it and itself
  std::vector<std::vector<double>> columns_;  // with all atoms, of those that have ever left the passive set
  std::vector<std::vector<double>> solved_;   // U'^-1 of a column, its first entries, of those that have left
  std::vector<double> weights_, rhs_;         // by atom
  std::vector<char> is_passive_;              // by atom
  std::vector<int64_t> passive_, left_;       // atoms in the order of the factor's rows; those that have columns
  std::vector<double> y_;
  Buffer<double> factor_;  // upper triangular, rows packed
  int64_t capacity_ = 0;
  double largest_rhs_ = 0.0;
};

}  // namespace acs_fast
