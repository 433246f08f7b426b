// Inner products in float64.
#pragma once

#include "vectors.h"

namespace acs_fast::ACS_NAMESPACE {
namespace {

template <class T>
double dot_kernel(const T* x, const double* y, int64_t n) {
  constexpr int L = kDoubles;
  Vec<double> a{}, b{}, c{}, d{};
  int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L) {
    a = fused(load_doubles(x + i), load(y + i), a);
    b = fused(load_doubles(x + i + L), load(y + i + L), b);
    c = fused(load_doubles(x + i + 2 * L), load(y + i + 2 * L), c);
    d = fused(load_doubles(x + i + 3 * L), load(y + i + 3 * L), d);
  }
  for (; i + L <= n; i += L) a = fused(load_doubles(x + i), load(y + i), a);
  double sum = total((a + b) + (c + d));
  for (; i < n; ++i) sum += double(x[i]) * y[i];
  return sum;
}

template <class T>
double dot_differences_kernel(const T* x, const T* y, const T* u, const T* v, int64_t n) {
  constexpr int L = kDoubles;
  Vec<double> sums{};
  int64_t i = 0;
  for (; i + L <= n; i += L) {
    const Vec<double> left = y ? load_doubles(x + i) - load_doubles(y + i) : load_doubles(x + i);
    const Vec<double> right = v ? load_doubles(u + i) - load_doubles(v + i) : load_doubles(u + i);
    sums = fused(left, right, sums);
  }
  double sum = total(sums);
  for (; i < n; ++i) sum += (double(x[i]) - (y ? double(y[i]) : 0.0)) * (double(u[i]) - (v ? double(v[i]) : 0.0));
  return sum;
}

template <class T, int COUNT>
inline void dots_block(const T* const* x, const double* y, int64_t n, double* out) {
  Vec<double> sums[COUNT] = {};
  int64_t d = 0;
  for (; d + kDoubles <= n; d += kDoubles) {
    const Vec<double> right = load(y + d);
#pragma GCC unroll 4
    for (int i = 0; i < COUNT; ++i) sums[i] = fused(load_doubles(x[i] + d), right, sums[i]);
  }
  for (int i = 0; i < COUNT; ++i) {
    double sum = total(sums[i]);
    for (int64_t e = d; e < n; ++e) sum += double(x[i][e]) * y[e];
    out[i] = sum;
  }
}

template <class T>
void dots_kernel(const T* const* x, int count, const double* y, int64_t n, double* out) {
  static_assert(kDots == 4, "the cases below are these");
  switch (count) {
    case 1: return dots_block<T, 1>(x, y, n, out);
    case 2: return dots_block<T, 2>(x, y, n, out);
    case 3: return dots_block<T, 3>(x, y, n, out);
    default: return dots_block<T, 4>(x, y, n, out);
  }
}

}  // namespace
}  // namespace acs_fast::ACS_NAMESPACE
