#include "screen.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace acs_fast {
namespace {

constexpr int64_t kDepth = 128;  // of the products that stay in a register tile before they join the sum
constexpr int kLargest = 32;     // micro-tiles are no larger in either direction

// A bound on the relative error of sum_c r_c sum_d m_cd h_d where each sum over d is one of chains of `depth` products
template <class T>
double relative_error(int64_t C, int64_t D, int64_t R, int64_t depth) {
  const double roundings = double(std::min(D, depth) + D / depth + C * R + 8);
  const double all = roundings * 0.5 * double(std::numeric_limits<T>::epsilon());
  return all < 0.5 ? all / (1.0 - all) : std::numeric_limits<double>::infinity();
}

// 2^-e for a largest magnitude in [2^(e - 1), 2^e), as far as both it and its inverse are finite
double to_unit(double largest) {
  int exponent = 0;
  if (largest > 0.0) std::frexp(largest, &exponent);
  return std::ldexp(1.0, -std::clamp(exponent, -1000, 1000));
}

constexpr int kSideBySide = 8;  // chains of a maximum or a sum, which the processor overlaps

template <class T>
double largest_magnitude(const T* x, int64_t n, double at_least) {
  T top[kSideBySide] = {T(at_least)};
  int64_t i = 0;
  for (; i + kSideBySide <= n; i += kSideBySide)
    for (int v = 0; v < kSideBySide; ++v) top[v] = std::max(top[v], std::abs(x[i + v]));
  for (; i < n; ++i) top[0] = std::max(top[0], std::abs(x[i]));
  return double(*std::max_element(top, top + kSideBySide));
}

// out = x * unit, a power of two; returns the sum of its squares
template <class T>
double scaled(const T* x, int64_t n, double unit, T* out) {
  double sums[kSideBySide] = {};
  const auto put = [&](int64_t i, double& sum) {
    const double value = double(x[i]) * unit;
    out[i] = T(value);
    sum += value * value;
  };
  int64_t i = 0;
  for (; i + kSideBySide <= n; i += kSideBySide)
    for (int v = 0; v < kSideBySide; ++v) put(i + v, sums[v]);
  for (; i < n; ++i) put(i, sums[0]);
  return std::accumulate(sums, sums + kSideBySide, 0.0);
}

}  // namespace

template <class T>
Screen<T>::Screen(const Factors<T>& factors, Span own)
    : f_(factors),
      k_(kernels<T>()),
      own_(own),
      width_(f_.D + f_.bias),
      error_(relative_error<T>(f_.C, width_, f_.R * f_.R, kDepth) +
             relative_error<double>(f_.C, width_, f_.R * f_.R, width_ + 1)),
      lost_(double(f_.R * f_.R * f_.C * width_) * double(std::numeric_limits<T>::min())),
      panels_(size_t((own.end - own.begin + k_.nr - 1) / k_.nr) * k_.nr * f_.R * pass_size()),
      units_(own.end - own.begin),
      m_((f_.C + k_.mr - 1) / k_.mr * k_.mr * width_),
      wanted_(f_.R * pass_size() * k_.mr) {}

template <class T>
void Screen<T>::pack(Span samples) {
  const int64_t nr = k_.nr, size = f_.R * pass_size();
  std::vector<T> rows(nr * size);
  for (int64_t begin = samples.begin; begin < samples.end; begin += nr) {
    const int64_t count = std::min(nr, samples.end - begin);
    std::fill(rows.begin() + count * size, rows.end(), T(0));
    for (int64_t i = 0; i < count; ++i) units_[begin + i - own_.begin] = pack(begin + i, rows.data() + i * size);
    k_.transpose(rows.data(), size, nr, size, panel(panel_of(begin), 0), nr);
  }
}

// The factors of a sample in its units, [R][C + D (+1)]
template <class T>
typename Screen<T>::Unit Screen<T>::pack(int64_t sample, T* out) const {
  const double r_unit = to_unit(largest_magnitude(f_.residual(sample, 0), f_.R * f_.C, 0.0));
  const double h_unit = to_unit(largest_magnitude(f_.feature(sample, 0), f_.R * f_.D, double(f_.bias)));
  double reach = 0.0;
  for (int64_t a = 0; a < f_.R; ++a) {
    const double r = scaled(f_.residual(sample, a), f_.C, r_unit, out), h = scaled(f_.feature(sample, a), f_.D, h_unit, out + f_.C);
    if (f_.bias) out[f_.C + f_.D] = T(h_unit);
    reach += std::sqrt(r * (h + double(f_.bias) * h_unit * h_unit));
    out += pass_size();
  }
  return {1.0 / r_unit / h_unit, reach};
}

// A micro-tile of products over D (+1), in chains of kDepth
template <class T>
void Screen<T>::multiply(const T* left, const T* right, int64_t rows, T* out) const {
  for (int64_t d = 0; d == 0 || d < width_; d += kDepth)
    k_.multiply(left + d * k_.mr, right + d * k_.nr, std::min(kDepth, width_ - d), rows, out, k_.nr, d > 0);
}

template <class T>
void Screen<T>::open(const double* m, int64_t stride) {
  double top = 0.0, sum = 0.0;
  for (int64_t c = 0; c < f_.C; ++c) top = std::max(top, largest_magnitude(m + c * stride, width_, 0.0));
  const double unit = to_unit(top);
  for (int64_t c = 0; c < f_.C; ++c) {
    T* out = m_.data() + c / k_.mr * k_.mr * width_ + c % k_.mr;
    for (int64_t d = 0; d < width_; ++d) {
      const double x = m[c * stride + d] * unit;
      out[d * k_.mr] = T(x);
      sum += x * x;
    }
  }
  m_scale_ = 1.0 / unit;
  m_norm_ = std::sqrt(sum);
}

template <class T>
void Screen<T>::estimate(Span samples, double* estimates, double* bounds) const {
  alignas(64) T products[kLargest * kLargest], sums[kLargest];
  const int64_t mr = k_.mr, nr = k_.nr;
  for (int64_t begin = samples.begin; begin < samples.end; begin += nr) {
    std::fill_n(sums, nr, T(0));
    for (int64_t a = 0; a < f_.R; ++a) {
      const T *r = panel(panel_of(begin), a), *h = r + f_.C * nr;
      for (int64_t c0 = 0; c0 < f_.C; c0 += mr) {
        const int64_t rows = std::min(mr, f_.C - c0);
        multiply(m_.data() + c0 * width_, h, rows, products);
        for (int64_t c = 0; c < rows; ++c)
          for (int64_t j = 0; j < nr; ++j) sums[j] += r[(c0 + c) * nr + j] * products[c * nr + j];
      }
    }
    for (int64_t i = begin; i < std::min(samples.end, begin + nr); ++i) {
      const Unit& unit = units_[i - own_.begin];
      const double scale = unit.scale * m_scale_;
      *estimates++ = double(sums[i - begin]) * scale;
      *bounds++ = (error_ * unit.reach * m_norm_ + lost_) * scale;
    }
  }
}

template <class T>
std::vector<typename Screen<T>::Column> Screen<T>::open_columns(const std::vector<int64_t>& samples) {
  const int64_t size = f_.R * pass_size();
  std::vector<T> rows(k_.mr * size);
  std::vector<Column> columns;
  for (size_t p = 0; p < samples.size(); ++p)
    columns.push_back({Buffer<T>(units_.size()), pack(samples[p], rows.data() + p * size)});
  k_.transpose(rows.data(), size, k_.mr, size, wanted_.data(), k_.mr);
  return columns;
}

template <class T>
void Screen<T>::fill_columns(Span samples, std::vector<Column>& columns) const {
  alignas(64) T r[kLargest * kLargest], h[kLargest * kLargest], sums[kLargest * kLargest];
  const int64_t nr = k_.nr, rows = int64_t(columns.size());
  for (int64_t begin = samples.begin; begin < samples.end; begin += nr) {
    std::fill_n(sums, rows * nr, T(0));
    for (int64_t b = 0; b < f_.R; ++b)
      for (int64_t a = 0; a < f_.R; ++a) {
        const T *left = wanted_.data() + a * pass_size() * k_.mr, *right = panel(panel_of(begin), b);
        k_.multiply(left, right, f_.C, rows, r, nr, false);
        multiply(left + f_.C * k_.mr, right + f_.C * nr, rows, h);
        for (int64_t e = 0; e < rows * nr; ++e) sums[e] += r[e] * h[e];
      }
    const int64_t count = std::min(nr, samples.end - begin);
    for (int64_t p = 0; p < rows; ++p)
      std::copy_n(sums + p * nr, count, columns[p].products.data() + begin - own_.begin);
  }
}

template <class T>
void Screen<T>::open(const std::vector<const Column*>& columns, const std::vector<double>& weights) {
  double largest = 0.0;
  for (size_t p = 0; p < columns.size(); ++p) largest = std::max(largest, weights[p] * columns[p]->unit.scale);
  const double unit = to_unit(largest);
  products_.clear();
  weights_.clear();
  columns_reach_ = 0.0;
  for (size_t p = 0; p < columns.size(); ++p) {
    const double weight = weights[p] * columns[p]->unit.scale * unit;
    products_.push_back(columns[p]->products.data());
    weights_.push_back(T(-weight));
    columns_reach_ += weight * columns[p]->unit.reach;
  }
  weight_scale_ = 1.0 / unit;
}

template <class T>
double Screen<T>::in_double() const {
  return double(2 * products_.size() + 8) * std::numeric_limits<double>::epsilon();
}

template <class T>
double Screen<T>::columns_error() const {
  return error_ + in_double() + double(kChain + 1) * double(std::numeric_limits<T>::epsilon());
}

template <class T>
double Screen<T>::blur(int64_t sample) const {
  std::vector<T> factors(f_.R * pass_size());
  const Unit unit = pack(sample, factors.data());
  return unit.scale * weight_scale_ * columns_error() * unit.reach * columns_reach_;
}

template <class T>
void Screen<T>::estimate(Span samples, const double* to_target, double* estimates, double* bounds) const {
  const int64_t begin = samples.begin - own_.begin, end = samples.end - own_.begin, size = int64_t(products_.size());
  std::fill(estimates, estimates + (end - begin), 0.0);
  k_.add_columns(estimates - begin, products_.data(), weights_.data(), size, begin, end);
  const double error = columns_error(), of_target = in_double();
  const double lost = 2.0 * lost_ * double(size);  // of the columns, and of their products with weights
  for (int64_t i = begin; i < end; ++i, ++estimates, ++bounds, ++to_target) {
    const double scale = units_[i].scale * weight_scale_;
    *estimates = *to_target + scale * *estimates;
    *bounds = scale * (error * units_[i].reach * columns_reach_ + lost) + of_target * std::abs(*to_target);
  }
}

template class Screen<float>;
template class Screen<double>;

}  // namespace acs_fast
