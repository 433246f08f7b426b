// Inner products of gradients in float64, from their factors.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "distances.h"
#include "kernels.h"
#include "team.h"

namespace acs_fast {

// out[p][at + i] for at most kDotRows samples i and kDotColumns columns p, of which the factors are there in float64
template <class T>
void gram_block(const Factors<T>& f, const Kernels<T>& k, const int64_t* samples, int rows, const double* factors,
                int columns, double* const* out, int64_t at) {
  const int64_t stride = f.R * (f.C + f.D);
  double sums[kDotRows][kDotColumns] = {}, r[kDotRows][kDotColumns], h[kDotRows][kDotColumns];
  for (int64_t b = 0; b < f.R; ++b)
    for (int64_t a = 0; a < f.R; ++a) {
      const T *left_r[kDotRows], *left_h[kDotRows];
      const double *right_r[kDotColumns], *right_h[kDotColumns];
      for (int i = 0; i < rows; ++i) left_r[i] = f.residual(samples[i], b), left_h[i] = f.feature(samples[i], b);
      for (int p = 0; p < columns; ++p) {
        right_r[p] = factors + p * stride + a * f.C;
        right_h[p] = factors + p * stride + f.R * f.C + a * f.D;
      }
      k.dots(left_r, rows, right_r, columns, f.C, r);
      k.dots(left_h, rows, right_h, columns, f.D, h);
      for (int i = 0; i < rows; ++i)
        for (int p = 0; p < columns; ++p) sums[i][p] += r[i][p] * (h[i][p] + double(f.bias));
    }
  for (int i = 0; i < rows; ++i)
    for (int p = 0; p < columns; ++p) out[p][at + i] = sums[i][p];
}

// out[p][i] = inner product of samples columns[p] and rows[i], or i, for i in `span`
template <class T>
void gram_columns(Team& team, const Factors<T>& f, const std::vector<int64_t>& columns, Span span, int64_t part_size,
                  const int64_t* rows, const std::vector<double*>& out) {
  const Kernels<T>& k = kernels<T>();
  const int64_t stride = f.R * (f.C + f.D);
  std::vector<double> factors(columns.size() * stride);  // residuals, then features
  for (size_t p = 0; p < columns.size(); ++p) {
    std::copy_n(f.residual(columns[p], 0), f.R * f.C, &factors[p * stride]);
    std::copy_n(f.feature(columns[p], 0), f.R * f.D, &factors[p * stride + f.R * f.C]);
  }
  team.share((span.end - span.begin + part_size - 1) / part_size, [&](int64_t part, int) {
    const int64_t end = std::min(span.end, span.begin + (part + 1) * part_size);
    for (int64_t i = span.begin + part * part_size; i < end; i += kDotRows) {
      const int count = int(std::min<int64_t>(kDotRows, end - i));
      const int64_t samples[kDotRows] = {rows ? rows[i] : i, count < 2 ? 0 : rows ? rows[i + 1] : i + 1};
      for (size_t p = 0; p < columns.size(); p += kDotColumns)
        gram_block(f, k, samples, count, &factors[p * stride],
                   int(std::min<size_t>(kDotColumns, columns.size() - p)), out.data() + p, i);
    }
  });
}

}  // namespace acs_fast
