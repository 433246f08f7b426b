// Inner products of gradients in float64, from their factors.
#pragma once

#include <algorithm>
#include <cstdint>

#include "distances.h"
#include "kernels.h"

namespace acs_fast {

// Writes residuals [R, C], then features [R, D], of a sample
template <class T>
void copy_factors(const Factors<T>& f, int64_t sample, double* out) {
  out = std::copy_n(f.residual(sample, 0), f.R * f.C, out);
  std::copy_n(f.feature(sample, 0), f.R * f.D, out);
}

// out[i] = <g_samples[i], g>, where `factors` are those of g
template <class T>
void inner_products(const Factors<T>& f, const int64_t* samples, int64_t count, const double* factors, double* out) {
  const Kernels<T>& k = kernels<T>();
  for (int64_t at = 0; at < count; at += kDots, samples += kDots, out += kDots) {
    const int size = int(std::min<int64_t>(kDots, count - at));
    const T *left_r[kDots], *left_h[kDots];
    double sums[kDots] = {}, r[kDots], h[kDots];
    for (int64_t b = 0; b < f.R; ++b)
      for (int64_t a = 0; a < f.R; ++a) {
        for (int i = 0; i < size; ++i) left_r[i] = f.residual(samples[i], b), left_h[i] = f.feature(samples[i], b);
        k.dots(left_r, size, factors + a * f.C, f.C, r);
        k.dots(left_h, size, factors + f.R * f.C + a * f.D, f.D, h);
        for (int i = 0; i < size; ++i) sums[i] += r[i] * (h[i] + double(f.bias));
      }
    std::copy_n(sums, size, out);
  }
}

}  // namespace acs_fast
