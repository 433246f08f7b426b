// Which instruction set runs: decided once, at the first call.
#include "kernels.h"

#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <stdexcept>
#include <string>

namespace acs_fast {

Simd best_simd_level() {
#ifdef ACS_FAST_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    return Simd::kAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Simd::kAvx2;
#endif
  return Simd::kBaseline;
}

namespace {

Simd choose() {
  const Simd best = best_simd_level();
  const char* wanted = std::getenv("ACS_FAST_SIMD");
  if (wanted == nullptr) return best;
  for (Simd level : {Simd::kBaseline, Simd::kAvx2, Simd::kAvx512})
    if (std::strcmp(wanted, simd_name(level)) == 0 && level <= best) return level;
  throw std::runtime_error(std::string("ACS_FAST_SIMD must be one of the levels from baseline to ") + simd_name(best) +
                           " on this processor; got " + wanted);
}

}  // namespace

Simd simd_level() {
  static const Simd level = choose();
  return level;
}

const char* simd_name(Simd level) {
  switch (level) {
    case Simd::kAvx512: return "avx512";
    case Simd::kAvx2: return "avx2";
    default: return "baseline";
  }
}

#ifdef ACS_FAST_X86
#define ACS_PICK(member) \
  (simd_level() == Simd::kAvx512 ? avx512::member : simd_level() == Simd::kAvx2 ? avx2::member : baseline::member)
#else
#define ACS_PICK(member) (baseline::member)
#endif

template <>
const Kernels<float>& kernels<float>() {
  return ACS_PICK(kFloat);
}
template <>
const Kernels<double>& kernels<double>() {
  return ACS_PICK(kDouble);
}
const DoubleKernels& double_kernels() { return ACS_PICK(kExtra); }

}  // namespace acs_fast
