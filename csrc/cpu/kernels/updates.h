// Updates of gradient matching: weighted sums of columns, rows of a factorisation rotated.
#pragma once

#include "vectors.h"

namespace acs_fast::ACS_NAMESPACE {
namespace {

template <int COUNT>
inline void subtract_columns(double* out, const double* const* columns, const double* weights, int64_t begin,
                             int64_t end) {
  int64_t j = begin;
  for (; j + kDoubles <= end; j += kDoubles) {
    Vec<double> acc = load(out + j);
#pragma GCC unroll 8
    for (int m = 0; m < COUNT; ++m) acc = fused(load(columns[m] + j), fill(-weights[m]), acc);
    store(out + j, acc);
  }
  for (; j < end; ++j) {  // one lane of the same arithmetic
    Vec<double> acc = fill(out[j]);
    for (int m = 0; m < COUNT; ++m) acc = fused(fill(columns[m][j]), fill(-weights[m]), acc);
    out[j] = acc[0];
  }
}

void subtract_kernel(double* out, const double* const* columns, const double* weights, int64_t count, int64_t begin,
                     int64_t end) {
  constexpr int64_t CHUNK = 1024;  // of `out`, which stays in the nearest cache
  for (int64_t j = begin; j < end; j += CHUNK) {
    const int64_t stop = j + CHUNK < end ? j + CHUNK : end;
    int64_t m = 0;
    for (; m + 8 <= count; m += 8) subtract_columns<8>(out, columns + m, weights + m, j, stop);
    for (; m < count; ++m) subtract_columns<1>(out, columns + m, weights + m, j, stop);
  }
}

template <class T>
void add_columns_kernel(double* out, const T* const* columns, const T* weights, int64_t count, int64_t begin,
                        int64_t end) {
  constexpr int L = kLanes<T>, VECTORS = 4;   // a chain's sums, which stay in registers
  constexpr int64_t CHUNK = 1024;             // of `out`, which stays in the nearest cache
  alignas(64) T sums[VECTORS * L];
  for (int64_t chunk = begin; chunk < end; chunk += CHUNK) {
    const int64_t stop = chunk + CHUNK < end ? chunk + CHUNK : end;
    for (int64_t first = 0; first < count; first += kChain) {
      const int64_t last = first + kChain < count ? first + kChain : count;
      int64_t j = chunk;
      for (; j + VECTORS * L <= stop; j += VECTORS * L) {
        Vec<T> acc[VECTORS] = {};
        for (int64_t m = first; m < last; ++m)
#pragma GCC unroll 4
          for (int v = 0; v < VECTORS; ++v) acc[v] = fused(load(columns[m] + j + v * L), fill(weights[m]), acc[v]);
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) store(sums + v * L, acc[v]);
        for (int e = 0; e < VECTORS * L; e += kDoubles) store(out + j + e, load(out + j + e) + load_doubles(sums + e));
      }
      for (; j < stop; ++j) {
        T sum = 0;
        for (int64_t m = first; m < last; ++m) sum += columns[m][j] * weights[m];
        out[j] += double(sum);
      }
    }
  }
}

void rotate_kernel(double c, double s, double* above, const double* below, double* out, int64_t n) {
  const Vec<double> cosine = fill(c), sine = fill(s);
  int64_t j = 0;
  for (; j + kDoubles <= n; j += kDoubles) {
    const Vec<double> a = load(above + j), b = load(below + j);
    store(out + j, fused(cosine, a, sine * b));
    store(above + j, fused(cosine, b, -(sine * a)));
  }
  for (; j < n; ++j) {
    const double a = above[j], b = below[j];
    out[j] = c * a + s * b;
    above[j] = c * b - s * a;
  }
}

}  // namespace
}  // namespace acs_fast::ACS_NAMESPACE
