// The arithmetic of one greedy step, the same on every backend: distances as 64-bit integers, so that sums do not depend
// on their order, and ties to the lowest index.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define ACS_BOTH __host__ __device__ __forceinline__
#else
#define ACS_BOTH inline
#endif

namespace acs_fast::cuda {

constexpr int kMaxBits = 50;  // of one quantised distance: float64 arithmetic on them stays exact

struct Candidate {
  long long gain;
  int column;
};

ACS_BOTH int bit_length(long long value) {
  int bits = 0;
  for (; value > 0; value >>= 1) ++bits;
  return bits;
}

// The e for which round(d * 2^e) of distances up to d_max fits kMaxBits bits and n of them sum below 2^62.
ACS_BOTH int scale_exponent(double d_max, long long n) {
  int exponent = 0;
  if (d_max > 0.0) frexp(d_max, &exponent);
  const int room = 62 - bit_length(n - 1);
  const int scaled = (room < kMaxBits ? room : kMaxBits) - exponent;
  return scaled < 1000 ? scaled : 1000;
}

// Round half to even.
ACS_BOTH long long quantise(double distance, double scale) {
#ifdef __CUDA_ARCH__
  return __double2ll_rn(distance * scale);
#else
  return llrint(distance * scale);
#endif
}

// Bits of a float64 that count in ones: differences of them are differences of quantised distances below 2^51.
ACS_BOTH long long rounded_bits(double distance, double scale) {
  constexpr double kOnes = 6755399441055744.0;  // 1.5 * 2^52
#ifdef __CUDA_ARCH__
  return __double_as_longlong(__fma_rn(distance, scale, kOnes));
#else
  const double sum = distance * scale + kOnes;
  long long bits;
  std::memcpy(&bits, &sum, sizeof(bits));
  return bits;
#endif
}

ACS_BOTH Candidate better(Candidate a, Candidate b) {
  const bool take_b = b.gain > a.gain || (b.gain == a.gain && b.column < a.column);
  return take_b ? b : a;
}

}  // namespace acs_fast::cuda
