#include "nnls.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace acs_fast {
namespace {

constexpr double kTolerance = 1e-12;  // of the duals, relative to the largest right-hand side
constexpr double kSmall = 0.2;        // a weight, relative to the mean: atoms with smaller ones stay open,
constexpr int64_t kOpen = 64;         // at most so many

// How far of the way from w to z a weight stays feasible
double reach(double w, double z) {
  return z > 0.0 ? std::numeric_limits<double>::infinity() : w / std::max(w - z, std::numeric_limits<double>::min());
}

}  // namespace

double NonNegativeLeastSquares::tolerance() const { return kTolerance * largest_rhs_; }

bool NonNegativeLeastSquares::append(double rhs, const double* inner) {
  const int64_t atom = size(), m = factor_.settled();
  std::vector<double> x, own;
  for (const int64_t other : settled_) x.push_back(inner[other]);
  for (const int64_t other : open_) own.push_back(inner[other]);
  factor_.forward(x.data());
  factor_.subtract_products(own.data(), x.data());
  const double scale = inner[atom] + ridge_;
  own.push_back(scale - dot_(x.data(), x.data(), m));
  rest_.add(own, rhs - dot_(x.data(), factor_.y().data(), m), scale);
  if (!rest_.activate(factor_.open())) {
    rest_.remove(factor_.open());
    return false;
  }
  factor_.add(x);
  open_.push_back(atom);
  gram_.emplace_back(inner, inner + atom + 1);
  weights_.push_back(0.0);
  largest_rhs_ = std::max(largest_rhs_, std::abs(rhs));
  return true;
}

// Whole sets of open atoms leave and join at once, as long as fewer want to join every time; where nobody does, settled
// ones without a positive weight become open. Otherwise it is one at a time, by steps that never leave the feasible set
// (Lawson and Hanson): slower, and sure to end.
void NonNegativeLeastSquares::solve() {
  size_t fewest = std::numeric_limits<size_t>::max();
  bool whole = true, optimal = false;
  for (int64_t i = 0; i < 3 * size() + 10 && !optimal; ++i) {  // a bound against rounding cycles
    const bool feasible = !whole;
    feasible ? descend() : shrink();
    std::vector<int64_t> entering = rising();
    whole = whole && entering.size() < fewest;
    if (!whole && !entering.empty()) entering.resize(1);
    fewest = entering.empty() ? fewest : entering.size();
    if (!join(entering)) optimal = feasible || settled_are_positive();
  }
  while (!optimal) {
    shrink();
    optimal = settled_are_positive();
  }
  settle();
}

// Whether one of these open atoms is passive now
bool NonNegativeLeastSquares::join(const std::vector<int64_t>& entering) {
  bool joined = false;
  for (const int64_t at : entering) joined = rest_.activate(at) || joined;
  return joined;
}

// The open atoms without a weight with which the objective falls, the steepest one first
std::vector<int64_t> NonNegativeLeastSquares::rising() const {
  std::vector<double> duals = rest_.rhs();
  for (const int64_t at : rest_.passive()) rest_.subtract(duals, at, weights_[open_[at]]);
  for (const int64_t at : rest_.passive()) duals[at] = 0.0;
  std::vector<int64_t> found;
  double top = tolerance();
  for (int64_t at = 0; at < factor_.open(); ++at) {
    if (duals[at] > tolerance()) found.push_back(at);
    if (duals[at] > top) {
      top = duals[at];
      std::swap(found.front(), found.back());
    }
  }
  return found;
}

// Least squares on the passive set without the open atoms that it gives no positive weight, whatever the settled ones get
void NonNegativeLeastSquares::shrink() {
  for (bool all = false; !all;) {
    const std::vector<double> w = open_weights();
    std::vector<char> leaving(w.size(), 0);
    for (const int64_t at : rest_.passive()) {
      weights_[open_[at]] = std::max(w[at], 0.0);
      leaving[at] = !(w[at] > 0.0);
    }
    all = !rest_.passivate(leaving);
  }
}

// What the settled atoms get then; those that get no positive weight become open. Weights are known from the last atom on,
// and most that leave have joined lately: the substitution ends with the first block in which some do.
bool NonNegativeLeastSquares::settled_are_positive() {
  std::vector<double> z = factor_.y();
  const int64_t m = factor_.settled(), known = factor_.backward(z, open_weights(), true);
  for (int64_t i = m - 1; i >= known; --i) {
    weights_[settled_[i]] = std::max(z[i], 0.0);
    if (!(z[i] > 0.0)) unsettle(i);
  }
  return factor_.settled() == m;
}

// Least squares on the passive set, stepping back and dropping atoms until all its weights are positive
void NonNegativeLeastSquares::descend() {
  for (bool feasible = false; !feasible;) {
    const std::vector<double> w = open_weights();
    std::vector<double> z = factor_.y();
    factor_.backward(z, w, false);
    double step = 1.0;
    for (size_t i = 0; i < z.size(); ++i) step = std::min(step, reach(weights_[settled_[i]], z[i]));
    for (const int64_t at : rest_.passive()) step = std::min(step, reach(weights_[open_[at]], w[at]));
    feasible = true;
    const auto leaves = [&](int64_t atom, double aim) {  // after a step towards the aim
      double& weight = weights_[atom];
      const bool at_bound = reach(weight, aim) <= step;
      weight = step < 1.0 ? weight + step * (aim - weight) : aim;
      if (at_bound || !(weight > 0.0)) weight = 0.0;
      feasible = feasible && weight > 0.0;
      return weight == 0.0;
    };
    std::vector<char> leaving(w.size(), 0);
    for (const int64_t at : rest_.passive()) leaving[at] = leaves(open_[at], w[at]);
    rest_.passivate(leaving);
    for (int64_t i = int64_t(z.size()) - 1; i >= 0; --i)
      if (leaves(settled_[i], z[i])) unsettle(i);
  }
}

// Least squares over the passive ones of the open atoms; zero for the others
std::vector<double> NonNegativeLeastSquares::open_weights() {
  rest_.refresh();
  std::vector<double> w(open_.size(), 0.0);
  const std::vector<double> solution = rest_.solution();
  for (size_t p = 0; p < solution.size(); ++p) w[rest_.passive()[p]] = solution[p];
  return w;
}

// Open atoms with a weight that is not small become settled, the heaviest first
void NonNegativeLeastSquares::settle() {
  const double mean = std::accumulate(weights_.begin(), weights_.end(), 0.0) / double(passive_size());
  const auto lighter = [&](int64_t a, int64_t b) { return weights_[open_[a]] < weights_[open_[b]]; };
  while (!rest_.passive().empty()) {
    const int64_t at = *std::max_element(rest_.passive().begin(), rest_.passive().end(), lighter);
    const bool steady = weights_[open_[at]] > kSmall * mean || int64_t(rest_.passive().size()) > kOpen;
    if (!steady || !rest_.independent(at)) break;
    const double pivot = std::sqrt(rest_.row(at)[at]), y = rest_.rhs()[at] / pivot;
    std::vector<double> row(rest_.row(at), rest_.row(at) + open_.size());
    for (double& entry : row) entry /= pivot;
    rest_.update(row, y, -1.0);
    rest_.remove(at);
    factor_.settle(at, row, y);
    settled_.push_back(open_[at]);
    open_[at] = open_.back();
    open_.pop_back();
  }
  rest_.refresh();
}

void NonNegativeLeastSquares::unsettle(int64_t position) {
  const int64_t atom = settled_[position];
  auto [lost, y] = factor_.unsettle(position);
  const double pivot = lost.back();
  lost.pop_back();
  rest_.update(lost, y, 1.0);
  for (double& entry : lost) entry *= pivot;
  lost.push_back(pivot * pivot);
  rest_.add(lost, pivot * y, gram_[atom][atom] + ridge_);
  settled_.erase(settled_.begin() + position);
  open_.push_back(atom);
}

std::vector<int64_t> NonNegativeLeastSquares::passive() const {
  std::vector<int64_t> atoms = settled_;
  for (const int64_t at : rest_.passive()) atoms.push_back(open_[at]);
  return atoms;
}

std::vector<double> NonNegativeLeastSquares::solve_passive(std::vector<double> b) const {
  const std::vector<int64_t>& passive = rest_.passive();
  std::vector<double> rest(b.begin() + factor_.settled(), b.end()), w(open_.size(), 0.0);
  b.resize(factor_.settled());
  factor_.forward(b.data());
  for (size_t p = 0; p < passive.size(); ++p) w[passive[p]] = rest[p];
  factor_.subtract_products(w.data(), b.data());
  for (size_t p = 0; p < passive.size(); ++p) rest[p] = w[passive[p]];
  rest = rest_.solve(std::move(rest));
  std::fill(w.begin(), w.end(), 0.0);
  for (size_t p = 0; p < passive.size(); ++p) w[passive[p]] = rest[p];
  factor_.backward(b, w, false);
  b.insert(b.end(), rest.begin(), rest.end());
  return b;
}

double NonNegativeLeastSquares::objective() const {
  double sum = rest_.explained();
  for (const double v : factor_.y()) sum += v * v;
  return -sum;
}

}  // namespace acs_fast
