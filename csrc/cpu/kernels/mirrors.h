// Blocks of a symmetric matrix and their mirror images.
#pragma once

#include "vectors.h"

namespace acs_fast::ACS_NAMESPACE {
namespace {

template <class T>
inline void transpose_block(const T* in, int64_t stride, T* out, int64_t out_stride) {
  for (int j = 0; j < 4; ++j)
    for (int i = 0; i < 4; ++i) out[j * out_stride + i] = in[i * stride + j];
}

#if __has_builtin(__builtin_shufflevector)
inline void transpose_block(const float* in, int64_t stride, float* out, int64_t out_stride) {
  typedef float Four __attribute__((vector_size(16)));
  typedef float Loose __attribute__((vector_size(16), aligned(4), may_alias));
  const auto row = [&](int i) { return Four(*reinterpret_cast<const Loose*>(in + i * stride)); };
  const Four a = row(0), b = row(1), c = row(2), d = row(3);
  const Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Four ef = __builtin_shufflevector(a, b, 2, 6, 3, 7), gh = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  *reinterpret_cast<Loose*>(out) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  *reinterpret_cast<Loose*>(out + out_stride) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  *reinterpret_cast<Loose*>(out + 2 * out_stride) = __builtin_shufflevector(ef, gh, 0, 1, 4, 5);
  *reinterpret_cast<Loose*>(out + 3 * out_stride) = __builtin_shufflevector(ef, gh, 2, 3, 6, 7);
}
#endif

template <class T>
void transpose_kernel(const T* in, int64_t stride, int64_t rows, int64_t columns, T* out, int64_t out_stride) {
  const int64_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  for (int64_t j = 0; j < whole_columns; j += 4)
    for (int64_t i = 0; i < whole_rows; i += 4)
      transpose_block(in + i * stride + j, stride, out + j * out_stride + i, out_stride);
  for (int64_t j = 0; j < columns; ++j)
    for (int64_t i = j < whole_columns ? whole_rows : 0; i < rows; ++i) out[j * out_stride + i] = in[i * stride + j];
}

template <class T>
bool mirrors_kernel(const T* block, const T* other, int64_t stride, int64_t rows, int64_t columns, uint64_t* largest) {
  typedef typename Vector<T>::word Word;
  typedef typename Vector<T>::loose_words LooseBits;
  constexpr int L = kLanes<T>;
  T mirrored[kCompared * kCompared];
  transpose_kernel(other, stride, columns, rows, mirrored, kCompared);
  typename Vector<T>::words differs{}, most{};
  Word different = 0, top = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const T *a = block + i * stride, *b = mirrored + i * kCompared;
    int64_t j = 0;
    for (; j + L <= columns; j += L) {
      const auto x = *reinterpret_cast<const LooseBits*>(a + j), y = *reinterpret_cast<const LooseBits*>(b + j);
      differs |= x ^ y;
      const auto higher = x > y ? x : y;
      most = higher > most ? higher : most;
    }
    for (; j < columns; ++j) {
      Word x, y;
      __builtin_memcpy(&x, a + j, sizeof x);
      __builtin_memcpy(&y, b + j, sizeof y);
      different |= x ^ y;
      top = x > top ? x : top;
      top = y > top ? y : top;
    }
  }
  for (int l = 0; l < L; ++l) {
    different |= differs[l];
    top = most[l] > top ? most[l] : top;
  }
  *largest = top > *largest ? top : *largest;
  return different == 0;
}

}  // namespace
}  // namespace acs_fast::ACS_NAMESPACE
