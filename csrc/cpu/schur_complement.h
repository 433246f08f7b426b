// A small symmetric system that others are eliminated from, and the solution over those of its unknowns that are passive.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels.h"

namespace acs_fast {

// S w = c. Unknowns come and go, others outside are eliminated and come back; a Cholesky factor follows the passive ones.
class SchurComplement {
 public:
  SchurComplement() : dot_(kernels<double>().dot), extra_(double_kernels()) {}

  int64_t size() const { return int64_t(rhs_.size()); }
  const double* row(int64_t i) const { return matrix_.data() + i * capacity_; }
  const std::vector<double>& rhs() const { return rhs_; }
  void subtract(std::vector<double>& x, int64_t i, double w) const;  // x -= S_i w
  // Whether the others, which are eliminated, leave something of an unknown
  bool independent(int64_t i) const;

  // An unknown, given its entries with those there are, then with itself; its pivots are measured by `scale`
  void add(const std::vector<double>& row, double rhs, double scale);
  void remove(int64_t i);  // the last one takes its place
  void update(const std::vector<double>& t, double u, double sign);  // S += sign t t', c += sign u t
  bool activate(int64_t i);  // makes an unknown passive; false, and nothing changed, when it depends on the passive ones
  bool passivate(const std::vector<char>& chosen);  // those are passive no more; whether there were any

  // Of the passive ones, in the order of the factor's rows. Up to date after `refresh`, which may find some dependent.
  void refresh();
  const std::vector<int64_t>& passive() const { return passive_; }
  std::vector<double> solution() const { return backward(y_); }
  std::vector<double> solve(std::vector<double> b) const;  // S z = b
  double explained() const;                                // c'S^-1 c

 private:
  const double* factor(int64_t p) const { return factor_.data() + p * (p + 1) / 2; }
  void grow();
  bool append(int64_t i);
  std::vector<double> backward(std::vector<double> z) const;

  double (*const dot_)(const double*, const double*, int64_t);
  const DoubleKernels& extra_;
  int64_t capacity_ = 0;
  std::vector<double> matrix_, rhs_, scales_;
  std::vector<int64_t> passive_;
  std::vector<double> factor_, y_;  // L L' of the passive ones, rows packed, and L^-1 c
  int64_t known_ = 0;               // rows of the factor that are up to date
};

}  // namespace acs_fast
