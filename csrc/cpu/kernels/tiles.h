// Tiles of distances: products of packed factors, inner products of centred gradients from those, and the distances.
#pragma once

#include "vectors.h"

namespace acs_fast::ACS_NAMESPACE {
namespace {

template <class T, int ROWS>
inline void multiply_rows(const T* a, const T* b, int64_t k, T* out, int64_t stride, bool accumulate) {
  constexpr int L = kLanes<T>;
  Vec<T> acc[ROWS][ACS_NV];
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < ACS_NV; ++v) acc[i][v] = Vec<T>{};
  for (int64_t p = 0; p < k; ++p, a += ACS_MR, b += ACS_NV * L) {
    Vec<T> right[ACS_NV];
#pragma GCC unroll 4
    for (int v = 0; v < ACS_NV; ++v) right[v] = load(b + v * L);
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i) {
      const Vec<T> left = fill(a[i]);
#pragma GCC unroll 4
      for (int v = 0; v < ACS_NV; ++v) acc[i][v] = fused(left, right[v], acc[i][v]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < ACS_NV; ++v) {
      T* p = out + i * stride + v * L;
      store(p, accumulate ? load(p) + acc[i][v] : acc[i][v]);
    }
}

template <class T>
void multiply_kernel(const T* a, const T* b, int64_t k, int64_t rows, T* out, int64_t stride, bool accumulate) {
  static_assert(ACS_MR > 4, "the cases below are smaller");
  if (rows == 1) return multiply_rows<T, 1>(a, b, k, out, stride, accumulate);
  if (rows <= 4) return multiply_rows<T, 4>(a, b, k, out, stride, accumulate);
#if ACS_MR > 8
  if (rows <= 8) return multiply_rows<T, 8>(a, b, k, out, stride, accumulate);
  if (rows <= 10) return multiply_rows<T, 10>(a, b, k, out, stride, accumulate);
#endif
  multiply_rows<T, ACS_MR>(a, b, k, out, stride, accumulate);
}

template <class T>
void combine_kernel(const T* qq, const T* pp, const Cross<T>& left, const Cross<T>& right, T mm, T kk, int64_t rows,
                    T* gram, int64_t stride, bool accumulate) {
  constexpr int L = kLanes<T>;
  for (int64_t i = 0; i < rows; ++i, qq += ACS_NV * L, pp += stride, gram += stride) {
    const Vec<T> u = fill(left.u[i]), v = fill(left.v[i]);
    for (int j = 0; j < ACS_NV * L; j += L) {
      const Vec<T> q = load(qq + j), uj = load(right.u + j), vj = load(right.v + j);
      // every sum here is the same for (i, j) and (j, i)
      Vec<T> sum = (q + (v + vj) + mm) * load(pp + j) + q * ((u + uj) + kk) + (v * uj + vj * u);
      store(gram + j, accumulate ? load(gram + j) + sum : sum);
    }
  }
}

template <class T>
RowSummary<T> distance_row_kernel(const T* gram, T norm, const T* norms, T limit, const T* limits, int64_t n,
                                  bool squared, T* out) {
  constexpr int L = kLanes<T>;
  const Vec<T> own = fill(norm), own_limit = fill(limit), zero{};
  Vec<T> largest{};
  decltype(own < own) close{};
  const auto distances = [&](const T* g, const T* other, const T* other_limit) {
    const Vec<T> d = own + load(other) - T(2) * load(g);
    close |= d <= own_limit + load(other_limit);
    const Vec<T> kept = higher_of(d, zero);
    return squared ? kept : root(kept);
  };
  int64_t j = 0;
  for (; j + L <= n; j += L) {
    const Vec<T> d = distances(gram + j, norms + j, limits + j);
    largest = higher_of(largest, d);
    store(out + j, d);
  }
  T top = T(0);
  if (j < n) {  // a vector of which only the first lanes count: the others repeat the last one
    T g[L], other[L], other_limit[L];
    for (int l = 0; l < L; ++l) {
      const int64_t at = j + l < n ? j + l : n - 1;
      g[l] = gram[at];
      other[l] = norms[at];
      other_limit[l] = limits[at];
    }
    const Vec<T> d = distances(g, other, other_limit);
    largest = higher_of(largest, d);
    for (int l = 0; j + l < n; ++l) out[j + l] = d[l];
  }
  bool any = false;
  for (int l = 0; l < L; ++l) {
    any |= close[l] != 0;
    top = largest[l] > top ? largest[l] : top;
  }
  return {any, top};
}

}  // namespace
}  // namespace acs_fast::ACS_NAMESPACE
