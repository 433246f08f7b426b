// The Cholesky factor of atoms that mostly stay, beside what it makes of all others.
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.h"
#include "kernels.h"
#include "team.h"

namespace acs_fast {

// U'U = G of the settled atoms, V = U'^-1 G of the open ones with them, y = U'^-1 c. Settling appends a column of V to U;
// a settled atom that becomes open is taken out by a rotation of each row below it. All work runs along rows of U and V.
class SettledFactor {
 public:
  // Within the team's `lead`
  explicit SettledFactor(Team& team) : team_(team), dot_(kernels<double>().dot), extra_(double_kernels()) {}

  int64_t settled() const { return int64_t(y_.size()); }
  int64_t open() const { return open_; }
  const std::vector<double>& y() const { return y_; }

  void add(const std::vector<double>& column);  // an open atom, by its column of V
  // Appends open atom `at`, given the new row of V, its own entry the pivot, and of y. The last open one takes its place.
  void settle(int64_t at, const std::vector<double>& row, double y);
  struct Lost {             // what has no row any more:
    std::vector<double> v;  // of the open atoms, the one that became open last
    double y;
  };
  Lost unsettle(int64_t position);  // makes a settled atom the last of the open ones

  void forward(double* x) const;                          // U'^-1 x
  void subtract_products(double* out, const double* x) const;  // out -= V'x
  // U^-1 (z - V w) from the last entry on, whole or until a block has one that is not positive; returns the first one known
  int64_t backward(std::vector<double>& z, const std::vector<double>& w, bool while_positive) const;

 private:
  struct Rotation {
    double c, s;
  };
  // Row i of U, to be indexed by columns j >= i, and of V
  double* u(int64_t i) const { return u_.data() + i * rows_ - i * (i + 1) / 2; }
  double* v(int64_t i) const { return v_.data() + i * width_; }
  void grow(int64_t rows, int64_t width);
  static double turn(std::vector<double>& x, int64_t position, const std::vector<Rotation>& rotations);

  Team& team_;
  double (*const dot_)(const double*, const double*, int64_t);
  const DoubleKernels& extra_;
  int64_t open_ = 0, rows_ = 0, width_ = 0;  // rows_, width_: there is memory for
  Buffer<double> u_, v_;                     // upper triangular, rows packed; [rows_, width_]
  std::vector<double> y_;
};

}  // namespace acs_fast
