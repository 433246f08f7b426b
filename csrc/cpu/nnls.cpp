#include "nnls.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace acs_fast {
namespace {

constexpr double kDependent = 1e-10;  // an atom with a squared pivot below this part of its squared norm: no direction
constexpr double kTolerance = 1e-12;  // of the dual, relative to the largest right-hand side
constexpr int64_t kBlock = 64;        // rows of the factor that a substitution takes together
constexpr int64_t kAlone = 2048;      // columns behind a block that are not worth a meeting
constexpr int64_t kColumns = 256;     // columns of them that one member takes at a time
constexpr int64_t kRowsShared = 16;   // rows of them that one member takes at a time
constexpr int64_t kDuals = 16;        // atoms outside the passive set that one member takes at a time

}  // namespace

bool NonNegativeLeastSquares::append(double rhs, const double* inner) {
  const int64_t atom = size();
  gram_.emplace_back(inner, inner + atom + 1);
  columns_.emplace_back();
  solved_.emplace_back();
  for (const int64_t a : left_) columns_[a].push_back(inner[a]);
  weights_.push_back(0.0);
  rhs_.push_back(rhs);
  is_passive_.push_back(0);
  if (activate({atom}) == 1) {
    largest_rhs_ = std::max(largest_rhs_, std::abs(rhs));
    return true;
  }
  gram_.pop_back();
  columns_.pop_back();
  solved_.pop_back();
  for (const int64_t a : left_) columns_[a].pop_back();
  weights_.pop_back();
  rhs_.pop_back();
  is_passive_.pop_back();
  return false;
}

// Whole sets of atoms leave and join at once, as long as fewer want to join every time. Then it is one at a time, by
// steps that never leave the feasible set (Lawson and Hanson): slower, and sure to end.
void NonNegativeLeastSquares::solve() {
  size_t fewest = std::numeric_limits<size_t>::max();
  bool whole = true;
  for (int64_t i = 0; i < 3 * size() + 10; ++i) {  // a bound against rounding cycles
    whole ? shrink() : descend();
    std::vector<int64_t> entering = rising();
    if (entering.empty()) return;
    whole = entering.size() < fewest;
    if (!whole) entering.resize(1);
    if (whole) fewest = entering.size();
    if (activate(entering) == 0) return;
  }
}

// The atoms outside the passive set with whose weight the objective falls, the steepest one first
std::vector<int64_t> NonNegativeLeastSquares::rising() const {
  const int64_t count = int64_t(left_.size());
  std::vector<double> duals(count, 0.0);
  team_.share((count + kDuals - 1) / kDuals, [&](int64_t part, int) {
    for (int64_t at = part * kDuals; at < std::min(count, (part + 1) * kDuals); ++at)
      if (const int64_t a = left_[at]; !is_passive_[a])
        duals[at] = rhs_[a] - dot_(columns_[a].data(), weights_.data(), size());
  });
  std::vector<int64_t> found;
  double top = kTolerance * largest_rhs_;
  const double tolerance = top;
  for (int64_t at = 0; at < count; ++at) {
    if (duals[at] > tolerance) found.push_back(left_[at]);
    if (duals[at] > top) {
      top = duals[at];
      std::swap(found.front(), found.back());
    }
  }
  return found;
}

// Least squares on the passive set without the atoms that it gives no positive weight. Weights are known from the last
// one on, and most atoms that leave have joined lately: a substitution ends with the first block in which some do.
void NonNegativeLeastSquares::shrink() {
  while (!passive_.empty()) {
    const int64_t m = int64_t(passive_.size());
    std::vector<double> z = y_;
    const int64_t known = backward(z, true);
    for (int64_t i = m - 1; i >= known; --i) {
      weights_[passive_[i]] = std::max(z[i], 0.0);
      if (!(z[i] > 0.0)) drop(i);
    }
    if (int64_t(passive_.size()) == m) return;
  }
}

// Least squares on the passive set, stepping back and dropping atoms until all its weights are positive
void NonNegativeLeastSquares::descend() {
  while (!passive_.empty()) {
    const int64_t m = int64_t(passive_.size());
    std::vector<double> z = y_;
    backward(z, false);
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

// Adds the columns of those atoms to the factor that do not depend on the passive ones, and says how many these are
int64_t NonNegativeLeastSquares::activate(const std::vector<int64_t>& atoms) {
  const int64_t m = int64_t(passive_.size()), count = int64_t(atoms.size());
  while (m + count > capacity_) grow();
  std::vector<double> together(count * m);
  std::vector<int64_t> solved(count);
  for (int64_t r = 0; r < count; ++r) {
    const std::vector<double>& own = columns_[atoms[r]].empty() ? gram_[atoms[r]] : columns_[atoms[r]];
    solved[r] = int64_t(solved_[atoms[r]].size()) / kBlock * kBlock;
    std::copy_n(solved_[atoms[r]].data(), solved[r], together.data() + r * m);
    for (int64_t i = solved[r]; i < m; ++i) together[r * m + i] = own[passive_[i]];
  }
  forward(together.data(), m, solved);
  std::vector<std::vector<double>> joined;
  for (int64_t r = 0; r < count; ++r) {
    const int64_t atom = atoms[r];
    std::vector<double> x(together.begin() + r * m, together.begin() + (r + 1) * m);
    for (const std::vector<double>& before : joined) {
      const int64_t at = int64_t(x.size());
      x.push_back((gram(atom, passive_[at]) - dot_(before.data(), x.data(), at)) / row(at)[at]);
    }
    const int64_t at = int64_t(x.size());
    const double diagonal = gram_[atom][atom] + ridge_, pivot = diagonal - dot_(x.data(), x.data(), at);
    if (!(pivot > kDependent * diagonal)) continue;
    for (int64_t i = 0; i < at; ++i) row(i)[at] = x[i];
    row(at)[at] = std::sqrt(pivot);
    y_.push_back((rhs_[atom] - dot_(x.data(), y_.data(), at)) / row(at)[at]);
    passive_.push_back(atom);
    is_passive_[atom] = 1;
    solved_[atom].clear();
    joined.push_back(std::move(x));
  }
  return int64_t(joined.size());
}

// Without its column the rows from `position` on begin one entry too far left; rotations of neighbours straighten them,
// and turn what was solved with the factor before
void NonNegativeLeastSquares::drop(int64_t position) {
  const int64_t m = int64_t(passive_.size());
  const int64_t atom = passive_[position];
  is_passive_[atom] = 0;
  if (columns_[atom].empty()) {
    left_.push_back(atom);
    for (int64_t a = 0; a < size(); ++a) columns_[atom].push_back(gram(atom, a));
  }
  solved_[atom].assign(m, 0.0);
  for (int64_t i = 0; i <= position; ++i) solved_[atom][i] = row(i)[position];
  passive_.erase(passive_.begin() + position);
  for (int64_t i = 0; i < position; ++i) std::copy(row(i) + position + 1, row(i) + m, row(i) + position);
  std::vector<double> carried(row(position) + position + 1, row(position) + m);
  std::vector<Rotation> rotations;
  for (int64_t i = position; i + 1 < m; ++i) {
    double* above = carried.data() + (i - position);
    const double* below = row(i + 1) + i + 1;
    const double length = std::hypot(above[0], below[0]), c = above[0] / length, s = below[0] / length;
    extra_.rotate(c, s, above, below, row(i) + i, m - 1 - i);
    rotations.push_back({c, s});
  }
  turn(y_, position, rotations);
  for (const int64_t a : left_) turn(solved_[a], position, rotations);
}

// What was solved with the factor before its rows from `position` on were rotated, as far as it goes, with it as it is now
void NonNegativeLeastSquares::turn(std::vector<double>& x, int64_t position, const std::vector<Rotation>& rotations) {
  const int64_t count = int64_t(x.size()) - position;
  if (count <= 0) return;
  double* own = x.data() + position;
  double carried = own[0];
  for (int64_t i = 0; i + 1 < count; ++i) {
    const auto [c, s] = rotations[i];
    const double below = own[i + 1];
    own[i] = c * carried + s * below;
    carried = c * below - s * carried;
  }
  x.pop_back();
}

// Both substitutions go by blocks of kBlock rows: the triangle of a block by the leader, the rest of its rows by the team.
// The blocks, and with them every sum, are the same for every number of threads.
void NonNegativeLeastSquares::forward(double* x, int64_t m, const std::vector<int64_t>& solved) const {
  const int64_t count = int64_t(solved.size());
  constexpr int64_t kRows = 8;  // subtracted in one pass
  for (int64_t block = 0; block < m; block += kBlock) {
    const int64_t stop = std::min(m, block + kBlock);
    const double* rows[kBlock];
    for (int64_t i = block; i < stop; ++i) rows[i - block] = row(i);
    for (int64_t r = 0; r < count; ++r) {
      double* own = x + r * m;
      for (int64_t begin = block; begin < stop && block >= solved[r]; begin += kRows) {
        const int64_t end = std::min(stop, begin + kRows);
        for (int64_t i = begin; i < end; ++i) {
          own[i] /= row(i)[i];
          for (int64_t j = i + 1; j < end; ++j) own[j] -= row(i)[j] * own[i];
        }
        extra_.subtract(own, rows + (begin - block), own + begin, end - begin, end, stop);
      }
    }
    const int64_t share = m - stop > kAlone ? kColumns : std::max<int64_t>(1, m - stop);
    team_.share((m - stop + share - 1) / share, [&](int64_t part, int) {
      const int64_t end = std::min(m, stop + (part + 1) * share);
      for (int64_t r = 0; r < count; ++r) {
        double* own = x + r * m;
        extra_.subtract(own, rows, own + block, stop - block, std::max(stop + part * share, solved[r]), end);
      }
    });
  }
}

int64_t NonNegativeLeastSquares::backward(std::vector<double>& z, bool while_positive) const {
  const int64_t m = int64_t(z.size());
  double beyond[kBlock];  // the products of a block's rows with what lies behind it
  for (int64_t block = (m - 1) / kBlock * kBlock; block >= 0; block -= kBlock) {
    const int64_t stop = std::min(m, block + kBlock);
    const int64_t share = m - stop > kAlone ? kRowsShared : kBlock;
    team_.share((stop - block + share - 1) / share, [&](int64_t part, int) {
      const int64_t begin = block + part * share;
      for (int64_t i = begin; i < std::min(stop, begin + share); ++i)
        beyond[i - block] = dot_(row(i) + stop, z.data() + stop, m - stop);
    });
    for (int64_t i = stop - 1; i >= block; --i)
      z[i] = (z[i] - beyond[i - block] - dot_(row(i) + i + 1, z.data() + i + 1, stop - 1 - i)) / row(i)[i];
    const auto positive = [](double w) { return w > 0.0; };
    if (while_positive && !std::all_of(z.begin() + block, z.begin() + stop, positive)) return block;
  }
  return 0;
}

std::vector<double> NonNegativeLeastSquares::solve_passive(std::vector<double> b) const {
  forward(b.data(), int64_t(b.size()), {0});
  backward(b, false);
  return b;
}

double NonNegativeLeastSquares::objective() const {
  double sum = 0.0;
  for (const double v : y_) sum -= v * v;
  return sum;
}

}  // namespace acs_fast
