#include "screen.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace acs_fast {
namespace {

constexpr int64_t kDepth = 128;  // of the products that stay in a register tile before they join the sum

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

template <class T>
double largest_magnitude(const T* x, int64_t n, double at_least) {
  T top = T(at_least);
  for (int64_t i = 0; i < n; ++i) top = std::max(top, std::abs(x[i]));
  return double(top);
}

}  // namespace

template <class T>
Screen<T>::Screen(const Factors<T>& factors, Span own)
    : f_(factors),
      k_(kernels<T>()),
      own_(own),
      width_(f_.D + f_.bias),
      error_(relative_error<T>(f_.C, width_, f_.R, kDepth) + relative_error<double>(f_.C, width_, f_.R, width_ + 1)),
      lost_(double(f_.R * f_.C * width_) * double(std::numeric_limits<T>::min())),
      panels_(size_t((own.end - own.begin + k_.nr - 1) / k_.nr) * k_.nr * f_.R * (f_.C + width_)),
      scale_(own.end - own.begin),
      reach_(own.end - own.begin),
      m_((f_.C + k_.mr - 1) / k_.mr * k_.mr * width_) {}

template <class T>
void Screen<T>::pack(Span samples) {
  const int64_t nr = k_.nr, last = panel_of(samples.end - 1);
  std::fill(panel(panel_of(samples.begin), 0), panel(last + 1, 0), T(0));
  for (int64_t i = samples.begin; i < samples.end; ++i) {
    const double r_unit = to_unit(largest_magnitude(f_.residual(i, 0), f_.R * f_.C, 0.0));
    const double h_unit = to_unit(largest_magnitude(f_.feature(i, 0), f_.R * f_.D, double(f_.bias)));
    const int64_t at = i - own_.begin;
    double reach = 0.0;
    for (int64_t a = 0; a < f_.R; ++a) {
      T* out = panel(panel_of(i), a) + at % nr;
      double r_norm = 0.0, h_norm = 0.0;
      const auto put = [&](double x, double& norm) {
        *out = T(x);
        norm += x * x;
        out += nr;
      };
      for (int64_t c = 0; c < f_.C; ++c) put(double(f_.residual(i, a)[c]) * r_unit, r_norm);
      for (int64_t d = 0; d < f_.D; ++d) put(double(f_.feature(i, a)[d]) * h_unit, h_norm);
      if (f_.bias) put(h_unit, h_norm);
      reach += std::sqrt(r_norm * h_norm);
    }
    scale_[at] = 1.0 / r_unit / h_unit;
    reach_[at] = reach;
  }
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
  constexpr int kLargest = 32;  // tiles are no larger in either direction
  alignas(64) T products[kLargest * kLargest], sums[kLargest];
  const int64_t mr = k_.mr, nr = k_.nr;
  for (int64_t begin = samples.begin; begin < samples.end; begin += nr) {
    std::fill_n(sums, nr, T(0));
    for (int64_t a = 0; a < f_.R; ++a) {
      const T *r = panel(panel_of(begin), a), *h = r + f_.C * nr;
      for (int64_t c0 = 0; c0 < f_.C; c0 += mr) {
        const int64_t rows = std::min(mr, f_.C - c0);
        for (int64_t d = 0; d == 0 || d < width_; d += kDepth)
          k_.multiply(m_.data() + c0 * width_ + d * mr, h + d * nr, std::min(kDepth, width_ - d), rows, products, nr, d > 0);
        for (int64_t c = 0; c < rows; ++c)
          for (int64_t j = 0; j < nr; ++j) sums[j] += r[(c0 + c) * nr + j] * products[c * nr + j];
      }
    }
    for (int64_t i = begin; i < std::min(samples.end, begin + nr); ++i) {
      const double scale = scale_[i - own_.begin] * m_scale_;
      *estimates++ = double(sums[i - begin]) * scale;
      *bounds++ = (error_ * reach_[i - own_.begin] * m_norm_ + lost_) * scale;
    }
  }
}

template class Screen<float>;
template class Screen<double>;

}  // namespace acs_fast
