#include "nnls.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace acs_fast {
namespace {

constexpr double kDependent = 1e-10;  // an atom with a squared pivot below this part of its squared norm: no direction
constexpr double kTolerance = 1e-12;  // of the dual, relative to the largest right-hand side

}  // namespace

bool NonNegativeLeastSquares::append(double rhs) {
  const int64_t atom = size();
  weights_.push_back(0.0);
  rhs_.push_back(rhs);
  is_passive_.push_back(0);
  if (activate(atom)) {
    largest_rhs_ = std::max(largest_rhs_, std::abs(rhs));
    return true;
  }
  weights_.pop_back();
  rhs_.pop_back();
  is_passive_.pop_back();
  return false;
}

void NonNegativeLeastSquares::solve() {
  const double tolerance = kTolerance * largest_rhs_;
  for (int64_t i = 0; i < 3 * size() + 10; ++i) {  // Lawson and Hanson end long before; a bound against rounding cycles
    descend();
    int64_t entering = -1;
    double top = tolerance;
    for (int64_t a = 0; a < size(); ++a) {
      if (is_passive_[a]) continue;
      double dual = rhs_[a];
      for (const int64_t p : passive_) dual -= gram_(a, p) * weights_[p];
      if (dual > top) top = dual, entering = a;
    }
    if (entering < 0 || !activate(entering)) return;
  }
}

// Least squares on the passive set, stepping back and dropping atoms until all its weights are positive
void NonNegativeLeastSquares::descend() {
  while (!passive_.empty()) {
    const int64_t m = int64_t(passive_.size());
    std::vector<double> z = y_;
    backward(z);
    double step = std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < m; ++i) {
      const double w = weights_[passive_[i]];
      if (z[i] <= 0.0) step = std::min(step, w / std::max(w - z[i], std::numeric_limits<double>::min()));
    }
    const bool feasible = std::isinf(step);
    std::vector<int64_t> leaving;
    for (int64_t i = 0; i < m; ++i) {
      double& w = weights_[passive_[i]];
      const bool at_bound = !feasible && z[i] <= 0.0 &&
                            w / std::max(w - z[i], std::numeric_limits<double>::min()) <= step;
      w = feasible ? z[i] : w + step * (z[i] - w);
      if (!feasible && (at_bound || w <= 0.0)) {
        w = 0.0;
        leaving.push_back(i);
      }
    }
    if (feasible) return;
    for (auto i = leaving.rbegin(); i != leaving.rend(); ++i) drop(*i);
  }
}

bool NonNegativeLeastSquares::activate(int64_t atom) {
  const int64_t m = int64_t(passive_.size());
  if (int64_t(factor_.size()) == m) {
    const int64_t capacity = (m + 64) / 64 * 64;
    factor_.push_back({std::make_unique<double[]>(capacity), capacity});
  }
  double* x = row(m);
  double squares = 0.0;
  for (int64_t i = 0; i < m; ++i) {
    x[i] = (gram_(passive_[i], atom) - dot_(row(i), x, i)) / row(i)[i];
    squares += x[i] * x[i];
  }
  const double diagonal = gram_(atom, atom) + ridge_, pivot = diagonal - squares;
  if (!(pivot > kDependent * diagonal)) return false;
  x[m] = std::sqrt(pivot);
  y_.push_back((rhs_[atom] - dot_(x, y_.data(), m)) / x[m]);
  passive_.push_back(atom);
  is_passive_[atom] = 1;
  return true;
}

// The rows below move up with one column too many; rotations of neighbouring columns make them triangular again
void NonNegativeLeastSquares::drop(int64_t position) {
  const int64_t m = int64_t(passive_.size());
  is_passive_[passive_[position]] = 0;
  passive_.erase(passive_.begin() + position);
  std::vector<double> cosine, sine;
  for (int64_t i = position + 1; i < m; ++i) {
    double *from = row(i), *to = row(i - 1);
    std::copy(from, from + position, to);
    double carried = from[position];
    for (size_t t = 0; t < cosine.size(); ++t) {
      const double next = from[position + 1 + t];
      to[position + t] = cosine[t] * carried + sine[t] * next;
      carried = cosine[t] * next - sine[t] * carried;
    }
    const double last = from[i], length = std::hypot(carried, last);
    cosine.push_back(carried / length);
    sine.push_back(last / length);
    to[i - 1] = length;
  }
  double carried = y_[position];
  for (size_t t = 0; t < cosine.size(); ++t) {
    const double next = y_[position + 1 + t];
    y_[position + t] = cosine[t] * carried + sine[t] * next;
    carried = cosine[t] * next - sine[t] * carried;
  }
  y_.pop_back();
}

void NonNegativeLeastSquares::backward(std::vector<double>& z) const {
  for (int64_t i = int64_t(z.size()) - 1; i >= 0; --i) {
    z[i] /= row(i)[i];
    axpy_(-z[i], row(i), z.data(), i);
  }
}

std::vector<double> NonNegativeLeastSquares::solve_passive(std::vector<double> b) const {
  for (int64_t i = 0; i < int64_t(b.size()); ++i) b[i] = (b[i] - dot_(row(i), b.data(), i)) / row(i)[i];
  backward(b);
  return b;
}

double NonNegativeLeastSquares::objective() const {
  double sum = 0.0;
  for (const double v : y_) sum -= v * v;
  return sum;
}

}  // namespace acs_fast
