// Kernels for any processor: 16-byte vectors, no fused multiply-add.
#include "kernels.h"

namespace acs_fast {
namespace baseline {
namespace {
template <class V>
inline V fused(V a, V b, V c) {
  return a * b + c;
}
template <class V>
inline V root(V a) {
  for (unsigned l = 0; l < sizeof a / sizeof a[0]; ++l)
    a[l] = sizeof a[0] == 4 ? __builtin_sqrtf(float(a[l])) : __builtin_sqrt(double(a[l]));
  return a;
}
}  // namespace
}  // namespace baseline
}  // namespace acs_fast

#define ACS_NAMESPACE baseline
#define ACS_BYTES 16
#define ACS_MR 6
#define ACS_NV 2
#define ACS_TILE 192
#include "kernels/table.h"
