// Vectors of one instruction set, and what is done with their lanes.
#pragma once

namespace acs_fast::ACS_NAMESPACE {
namespace {

template <class T>
struct Vector;
template <>
struct Vector<float> {
  typedef float type __attribute__((vector_size(ACS_BYTES)));
  typedef float loose __attribute__((vector_size(ACS_BYTES), aligned(4), may_alias));
  typedef uint32_t word;
  typedef uint32_t words __attribute__((vector_size(ACS_BYTES)));
  typedef uint32_t loose_words __attribute__((vector_size(ACS_BYTES), aligned(4), may_alias));
  typedef float half __attribute__((vector_size(ACS_BYTES / 2)));
  typedef float loose_half __attribute__((vector_size(ACS_BYTES / 2), aligned(4), may_alias));
};
template <>
struct Vector<double> {
  typedef double type __attribute__((vector_size(ACS_BYTES)));
  typedef double loose __attribute__((vector_size(ACS_BYTES), aligned(8), may_alias));
  typedef uint64_t word;
  typedef uint64_t words __attribute__((vector_size(ACS_BYTES)));
  typedef uint64_t loose_words __attribute__((vector_size(ACS_BYTES), aligned(8), may_alias));
};
typedef Vector<double>::words Words;
typedef Vector<double>::loose_words LooseWords;
typedef int64_t Integers __attribute__((vector_size(ACS_BYTES)));
typedef int64_t LooseIntegers __attribute__((vector_size(ACS_BYTES), aligned(8), may_alias));

template <class T>
using Vec = typename Vector<T>::type;
template <class T>
constexpr int kLanes = ACS_BYTES / sizeof(T);
constexpr int kDoubles = kLanes<double>;

template <class T>
inline Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename Vector<T>::loose*>(p);
}
template <class T>
inline void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename Vector<T>::loose*>(p) = v;
}
template <class T>
inline Vec<T> fill(T x) {
  return x - Vec<T>{};
}
template <class V>
inline V lower_of(V a, V b) {
  return a < b ? a : b;
}
template <class V>
inline V higher_of(V a, V b) {
  return a > b ? a : b;
}
inline Vec<double> load_doubles(const double* p) { return load(p); }
inline Vec<double> load_doubles(const float* p) {
  typedef Vector<float> F;
  return __builtin_convertvector(F::half(*reinterpret_cast<const F::loose_half*>(p)), Vec<double>);
}
// The upper half of the lanes onto the lower, until one is left
typedef double Pair __attribute__((vector_size(16)));
inline double total(Pair v) { return v[0] + v[1]; }
#if ACS_BYTES >= 32
typedef double Four __attribute__((vector_size(32)));
inline double total(Four v) { return total(__builtin_shufflevector(v, v, 0, 1) + __builtin_shufflevector(v, v, 2, 3)); }
#endif
#if ACS_BYTES >= 64
typedef double Eight __attribute__((vector_size(64)));
inline double total(Eight v) {
  return total(__builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7));
}
#endif

}  // namespace
}  // namespace acs_fast::ACS_NAMESPACE
