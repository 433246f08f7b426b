#include "schur_complement.h"

#include <algorithm>
#include <cmath>

namespace acs_fast {
namespace {

constexpr double kDependent = 1e-10;  // a squared pivot below this part of the squared norm: no direction of its own

}  // namespace

bool SchurComplement::independent(int64_t i) const { return row(i)[i] > kDependent * scales_[i]; }

void SchurComplement::grow() {
  const int64_t n = size(), before = capacity_;
  capacity_ = std::max<int64_t>(32, before + before / 2);
  const std::vector<double> old = std::move(matrix_);
  matrix_.assign(capacity_ * capacity_, 0.0);
  for (int64_t i = 0; i < n; ++i) std::copy_n(old.data() + i * before, n, matrix_.data() + i * capacity_);
}

void SchurComplement::add(const std::vector<double>& row, double rhs, double scale) {
  const int64_t at = size();
  if (at == capacity_) grow();
  std::copy_n(row.data(), at + 1, matrix_.data() + at * capacity_);
  for (int64_t i = 0; i < at; ++i) matrix_[i * capacity_ + at] = row[i];
  rhs_.push_back(rhs);
  scales_.push_back(scale);
}

void SchurComplement::remove(int64_t i) {
  const int64_t last = size() - 1;
  std::copy_n(row(last), last + 1, matrix_.data() + i * capacity_);
  for (int64_t j = 0; j < last; ++j) matrix_[j * capacity_ + i] = matrix_[j * capacity_ + last];
  matrix_[i * capacity_ + i] = matrix_[last * capacity_ + last];
  for (std::vector<double>* values : {&rhs_, &scales_}) {
    (*values)[i] = values->back();
    values->pop_back();
  }
  const auto at = std::find(passive_.begin(), passive_.end(), i);
  known_ = std::min<int64_t>(known_, at - passive_.begin());
  if (at != passive_.end()) passive_.erase(at);
  std::replace(passive_.begin(), passive_.end(), last, i);
}

void SchurComplement::update(const std::vector<double>& t, double u, double sign) {
  const double* column = t.data();
  for (int64_t i = 0; i < size(); ++i) {
    const double weight = -sign * t[i];
    extra_.subtract(matrix_.data() + i * capacity_, &column, &weight, 1, 0, size());
    rhs_[i] += sign * u * t[i];
  }
  known_ = 0;
}

void SchurComplement::subtract(std::vector<double>& x, int64_t i, double w) const {
  const double* own = row(i);
  extra_.subtract(x.data(), &own, &w, 1, 0, size());
}

// The next row of the factor
bool SchurComplement::append(int64_t i) {
  factor_.resize((known_ + 1) * (known_ + 2) / 2);
  double* own = factor_.data() + known_ * (known_ + 1) / 2;
  for (int64_t p = 0; p < known_; ++p) own[p] = (row(i)[passive_[p]] - dot_(factor(p), own, p)) / factor(p)[p];
  const double pivot = row(i)[i] - dot_(own, own, known_);
  if (!(pivot > kDependent * scales_[i])) return false;
  own[known_] = std::sqrt(pivot);
  y_.resize(known_);
  y_.push_back((rhs_[i] - dot_(own, y_.data(), known_)) / own[known_]);
  passive_[known_++] = i;
  return true;
}

void SchurComplement::refresh() {
  const std::vector<int64_t> order = passive_;
  for (size_t p = known_; p < order.size(); ++p) append(order[p]);
  passive_.resize(known_);
  y_.resize(known_);
}

bool SchurComplement::activate(int64_t i) {
  refresh();
  passive_.push_back(i);
  if (append(i)) return true;
  passive_.pop_back();
  return false;
}

bool SchurComplement::passivate(const std::vector<char>& chosen) {
  const auto leaves = [&](int64_t i) { return chosen[i] != 0; };
  const auto first = std::find_if(passive_.begin(), passive_.end(), leaves);
  if (first == passive_.end()) return false;
  known_ = std::min<int64_t>(known_, first - passive_.begin());
  passive_.erase(std::remove_if(first, passive_.end(), leaves), passive_.end());
  return true;
}

std::vector<double> SchurComplement::backward(std::vector<double> z) const {
  for (int64_t p = int64_t(z.size()) - 1; p >= 0; --p) {
    const double* own = factor(p);
    z[p] /= own[p];
    extra_.subtract(z.data(), &own, &z[p], 1, 0, p);
  }
  return z;
}

std::vector<double> SchurComplement::solve(std::vector<double> b) const {
  for (size_t p = 0; p < b.size(); ++p) b[p] = (b[p] - dot_(factor(p), b.data(), p)) / factor(p)[p];
  return backward(std::move(b));
}

double SchurComplement::explained() const {
  double sum = 0.0;
  for (const double v : y_) sum += v * v;
  return sum;
}

}  // namespace acs_fast
