// Kernels for x86-64 with AVX-512 (F, DQ, BW and VL).
#include "kernels.h"

#ifdef ACS_FAST_X86
#include <immintrin.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#endif

namespace acs_fast {
namespace avx512 {
namespace {
inline __m512 fused(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
inline __m512d fused(__m512d a, __m512d b, __m512d c) { return _mm512_fmadd_pd(a, b, c); }
inline __m512 root(__m512 a) { return _mm512_sqrt_ps(a); }
inline __m512d root(__m512d a) { return _mm512_sqrt_pd(a); }
}  // namespace
}  // namespace avx512
}  // namespace acs_fast

#define ACS_NAMESPACE avx512
#define ACS_BYTES 64
#define ACS_MR 14
#define ACS_NV 2
#define ACS_TILE 224
#include "kernels/table.h"

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
