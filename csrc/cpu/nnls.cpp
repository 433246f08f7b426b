#include "nnls.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace acs_fast {
namespace {

constexpr double kDependent = 1e-10;  // an atom with a squared pivot below this part of its squared norm: no direction
constexpr double kTolerance = 1e-12;  // of the dual, relative to the largest right-hand side
constexpr int64_t kBlock = 64;        // rows of the factor that a substitution takes together
constexpr int64_t kColumns = 256;     // columns of them that one member takes at a time
constexpr int64_t kRowsShared = 16;   // rows of them that one member takes at a time

}  // namespace

bool NonNegativeLeastSquares::append(double rhs, const double* inner) {
  const int64_t atom = size();
  gram_.emplace_back(inner, inner + atom + 1);
  weights_.push_back(0.0);
  rhs_.push_back(rhs);
  is_passive_.push_back(0);
  if (activate(atom)) {
    largest_rhs_ = std::max(largest_rhs_, std::abs(rhs));
    return true;
  }
  gram_.pop_back();
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
      const double rising = dual(a);
      if (rising > top) top = rising, entering = a;
    }
    if (entering < 0 || !activate(entering)) return;
  }
}

// How fast the objective falls with the weight of an atom outside the passive set
double NonNegativeLeastSquares::dual(int64_t atom) const {
  double product = dot_(gram_[atom].data(), weights_.data(), atom);
  for (int64_t a = atom + 1; a < size(); ++a) product += gram_[a][atom] * weights_[a];
  return rhs_[atom] - product;
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

void NonNegativeLeastSquares::grow() {
  const int64_t m = int64_t(passive_.size()), before = capacity_;
  const Buffer<double> old = std::move(factor_);
  capacity_ = std::max<int64_t>(64, before + before / 2);
  factor_ = Buffer<double>(capacity_ * (capacity_ + 1) / 2);
  for (int64_t i = 0; i < m; ++i) {
    const double* from = old.data() + i * before - i * (i + 1) / 2;
    std::copy(from + i, from + m, row(i) + i);
  }
}

bool NonNegativeLeastSquares::activate(int64_t atom) {
  const int64_t m = int64_t(passive_.size());
  if (m == capacity_) grow();
  std::vector<double> x(m);
  for (int64_t i = 0; i < m; ++i) x[i] = gram(atom, passive_[i]);
  forward(x);
  const double diagonal = gram_[atom][atom] + ridge_, pivot = diagonal - dot_(x.data(), x.data(), m);
  if (!(pivot > kDependent * diagonal)) return false;
  for (int64_t i = 0; i < m; ++i) row(i)[m] = x[i];
  row(m)[m] = std::sqrt(pivot);
  y_.push_back((rhs_[atom] - dot_(x.data(), y_.data(), m)) / row(m)[m]);
  passive_.push_back(atom);
  is_passive_[atom] = 1;
  return true;
}

// Without its column the rows from `position` on begin one entry too far left; rotations of neighbours straighten them
void NonNegativeLeastSquares::drop(int64_t position) {
  const int64_t m = int64_t(passive_.size());
  is_passive_[passive_[position]] = 0;
  passive_.erase(passive_.begin() + position);
  for (int64_t i = 0; i < position; ++i) std::copy(row(i) + position + 1, row(i) + m, row(i) + position);
  std::vector<double> carried(row(position) + position + 1, row(position) + m);
  for (int64_t i = position; i + 1 < m; ++i) {
    double* above = carried.data() + (i - position);
    const double* below = row(i + 1) + i + 1;
    const double length = std::hypot(above[0], below[0]), c = above[0] / length, s = below[0] / length;
    extra_.rotate(c, s, above, below, row(i) + i, m - 1 - i);
    const double y = y_[i];
    y_[i] = c * y + s * y_[i + 1];
    y_[i + 1] = c * y_[i + 1] - s * y;
  }
  y_.pop_back();
}

// Both substitutions go by blocks of kBlock rows: the triangle of a block by the leader, the rest of its rows by the team.
// The blocks, and with them every sum, are the same for every number of threads.
void NonNegativeLeastSquares::forward(std::vector<double>& x) const {
  constexpr int64_t kRows = 8;  // subtracted in one pass
  const int64_t m = int64_t(x.size());
  for (int64_t block = 0; block < m; block += kBlock) {
    const int64_t stop = std::min(m, block + kBlock);
    const double* rows[kBlock];
    for (int64_t begin = block; begin < stop; begin += kRows) {
      const int64_t end = std::min(stop, begin + kRows);
      for (int64_t i = begin; i < end; ++i) {
        rows[i - block] = row(i);
        x[i] /= row(i)[i];
        for (int64_t j = i + 1; j < end; ++j) x[j] -= row(i)[j] * x[i];
      }
      extra_.subtract(x.data(), rows + (begin - block), x.data() + begin, end - begin, end, stop);
    }
    team_.share((m - stop + kColumns - 1) / kColumns, [&](int64_t part, int) {
      const int64_t begin = stop + part * kColumns;
      extra_.subtract(x.data(), rows, x.data() + block, stop - block, begin, std::min(m, begin + kColumns));
    });
  }
}

void NonNegativeLeastSquares::backward(std::vector<double>& z) const {
  const int64_t m = int64_t(z.size());
  double beyond[kBlock];  // the products of a block's rows with what lies behind it
  for (int64_t block = (m - 1) / kBlock * kBlock; block >= 0; block -= kBlock) {
    const int64_t stop = std::min(m, block + kBlock);
    const int64_t share = m - stop > kColumns ? kRowsShared : kBlock;
    team_.share((stop - block + share - 1) / share, [&](int64_t part, int) {
      const int64_t begin = block + part * share;
      for (int64_t i = begin; i < std::min(stop, begin + share); ++i)
        beyond[i - block] = dot_(row(i) + stop, z.data() + stop, m - stop);
    });
    for (int64_t i = stop - 1; i >= block; --i)
      z[i] = (z[i] - beyond[i - block] - dot_(row(i) + i + 1, z.data() + i + 1, stop - 1 - i)) / row(i)[i];
  }
}

std::vector<double> NonNegativeLeastSquares::solve_passive(std::vector<double> b) const {
  forward(b);
  backward(b);
  return b;
}

double NonNegativeLeastSquares::objective() const {
  double sum = 0.0;
  for (const double v : y_) sum -= v * v;
  return sum;
}

}  // namespace acs_fast
