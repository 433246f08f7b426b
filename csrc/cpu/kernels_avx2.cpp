// Kernels for x86-64 with AVX2 and FMA (2013 and later).
#include "kernels.h"

#ifdef ACS_FAST_X86
#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace acs_fast {
namespace avx2 {
namespace {
inline __m256 fused(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
inline __m256d fused(__m256d a, __m256d b, __m256d c) { return _mm256_fmadd_pd(a, b, c); }
inline __m256 root(__m256 a) { return _mm256_sqrt_ps(a); }
inline __m256d root(__m256d a) { return _mm256_sqrt_pd(a); }
}  // namespace
}  // namespace avx2
}  // namespace acs_fast

#define ACS_NAMESPACE avx2
#define ACS_BYTES 32
#define ACS_MR 6
#define ACS_NV 2
#define ACS_TILE 192
#include "kernels/table.h"

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
