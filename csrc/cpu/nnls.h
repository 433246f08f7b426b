// Non-negative least squares in Gram space over a growing set of atoms (Lawson and Hanson, warm-started).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "kernels.h"

namespace acs_fast {

// Minimises w'Gw - 2c'w + ridge |w|^2 over w >= 0. Keeps the Cholesky factor L of the passive set (the atoms with a
// positive weight) and y = L^-1 c: appending an atom is one forward substitution, dropping one a row of rotations, and
// the weights of the passive set one backward substitution.
class NonNegativeLeastSquares {
 public:
  using Gram = std::function<double(int64_t, int64_t)>;  // inner product of two atoms

  NonNegativeLeastSquares(double ridge, Gram gram)
      : ridge_(ridge), gram_(std::move(gram)), dot_(kernels<double>().dot), axpy_(double_kernels().axpy) {}

  // Adds an atom; false, and nothing added, when it depends on the passive ones.
  bool append(double rhs);
  void solve();  // moves to the optimum over all atoms
  // G z = b on the passive set, in its order
  std::vector<double> solve_passive(std::vector<double> b) const;

  int64_t size() const { return int64_t(weights_.size()); }
  const std::vector<double>& weights() const { return weights_; }
  const std::vector<int64_t>& passive() const { return passive_; }
  double objective() const;  // at an optimum, where w'(G + ridge)w = c'w = y'y

 private:
  struct Row {
    std::unique_ptr<double[]> data;
    int64_t capacity = 0;
  };
  double* row(int64_t i) { return factor_[i].data.get(); }
  const double* row(int64_t i) const { return factor_[i].data.get(); }
  bool activate(int64_t atom);
  void descend();
  void drop(int64_t position);
  void backward(std::vector<double>& z) const;

  const double ridge_;
  const Gram gram_;
  double (*const dot_)(const double*, const double*, int64_t);
  void (*const axpy_)(double, const double*, double*, int64_t);
  std::vector<double> weights_, rhs_;  // by atom
  std::vector<int64_t> passive_;       // atoms in the order of the factor's rows
  std::vector<char> is_passive_;       // by atom
  std::vector<Row> factor_;            // lower triangular
  std::vector<double> y_;
  double largest_rhs_ = 0.0;
};

}  // namespace acs_fast
