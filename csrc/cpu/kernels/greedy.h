// A step of the greedy: sums of clamped distances as integers, the rows that a pick serves better, the best candidate.
#pragma once

#include "vectors.h"

namespace acs_fast::ACS_NAMESPACE {
namespace {

template <class T, int COUNT>
inline void clamp_sum_rows(uint64_t* sum, const T* const* rows, const T* low, const T* high, int64_t begin, int64_t end,
                           double scale, uint64_t offset) {
  const Vec<double> s = fill(scale), magic = fill(kRoundingMagic);
  int64_t j = begin;
  for (; j + kDoubles <= end; j += kDoubles) {
    Words acc = *reinterpret_cast<LooseWords*>(sum + j) + offset;
#pragma GCC unroll 8
    for (int r = 0; r < COUNT; ++r) {
      Vec<double> d = load_doubles(rows[r] + j);
      d = higher_of(lower_of(d, fill(double(high[r]))), fill(double(low[r])));
      acc += reinterpret_cast<Words>(fused(d, s, magic));
    }
    *reinterpret_cast<LooseWords*>(sum + j) = acc;
  }
  for (; j < end; ++j) {
    uint64_t acc = sum[j] + offset;
    for (int r = 0; r < COUNT; ++r) {
      double d = double(rows[r][j]);
      d = d < double(high[r]) ? d : double(high[r]);
      d = d > double(low[r]) ? d : double(low[r]);
      const double rounded = d * scale + kRoundingMagic;  // d * 2^e is exact, so fused or not is the same
      uint64_t bits;
      __builtin_memcpy(&bits, &rounded, sizeof bits);
      acc += bits;
    }
    sum[j] = acc;
  }
}

template <class T>
void clamp_sum_kernel(uint64_t* sum, const T* const* rows, const T* low, const T* high, int count, int64_t begin,
                      int64_t end, double scale, uint64_t offset) {
  switch (count) {
    case 8: return clamp_sum_rows<T, 8>(sum, rows, low, high, begin, end, scale, offset);
    case 7: return clamp_sum_rows<T, 7>(sum, rows, low, high, begin, end, scale, offset);
    case 6: return clamp_sum_rows<T, 6>(sum, rows, low, high, begin, end, scale, offset);
    case 5: return clamp_sum_rows<T, 5>(sum, rows, low, high, begin, end, scale, offset);
    case 4: return clamp_sum_rows<T, 4>(sum, rows, low, high, begin, end, scale, offset);
    case 3: return clamp_sum_rows<T, 3>(sum, rows, low, high, begin, end, scale, offset);
    case 2: return clamp_sum_rows<T, 2>(sum, rows, low, high, begin, end, scale, offset);
    case 1: return clamp_sum_rows<T, 1>(sum, rows, low, high, begin, end, scale, offset);
    default: return;
  }
}

template <class T>
uint64_t clamp_total_kernel(const T* d, const T* high, int64_t n, double scale) {
  const Vec<double> s = fill(scale), magic = fill(kRoundingMagic);
  Words sums{};
  int64_t j = 0;
  for (; j + kDoubles <= n; j += kDoubles)
    sums += reinterpret_cast<Words>(fused(lower_of(load_doubles(d + j), load_doubles(high + j)), s, magic));
  uint64_t total = 0;
  for (int l = 0; l < kDoubles; ++l) total += sums[l];
  for (; j < n; ++j) {
    const double rounded = double(d[j] < high[j] ? d[j] : high[j]) * scale + kRoundingMagic;
    uint64_t bits;
    __builtin_memcpy(&bits, &rounded, sizeof bits);
    total += bits;
  }
  return total;
}

template <class T>
int64_t find_lower_kernel(const T* candidate, const T* current, int64_t n, int32_t* out) {
  constexpr int BLOCK = 2 * kLanes<T>;
  int64_t found = 0, i = 0;
  for (; i + BLOCK <= n; i += BLOCK) {
    int any = 0;
    for (int l = 0; l < BLOCK; ++l) any |= candidate[i + l] < current[i + l];
    if (!any) continue;
    for (int l = 0; l < BLOCK; ++l) {
      out[found] = int32_t(i + l);
      found += candidate[i + l] < current[i + l];
    }
  }
  for (; i < n; ++i)
    if (candidate[i] < current[i]) out[found++] = int32_t(i);
  return found;
}

int64_t argmax_kernel(const int64_t* values, int64_t begin, int64_t end) {
  int64_t best = values[begin], i = begin;
  Integers top = best - Integers{};
  for (; i + kDoubles <= end; i += kDoubles) {
    const Integers v = *reinterpret_cast<const LooseIntegers*>(values + i);
    top = v > top ? v : top;
  }
  for (int l = 0; l < kDoubles; ++l) best = top[l] > best ? top[l] : best;
  for (; i < end; ++i) best = values[i] > best ? values[i] : best;
  for (i = begin; values[i] != best; ++i) {
  }
  return i;
}

}  // namespace
}  // namespace acs_fast::ACS_NAMESPACE
