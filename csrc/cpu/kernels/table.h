// The vector kernels, written once and compiled for each instruction set. Products are our own and not calls of a BLAS:
// a row that is computed alone must equal that row of the whole matrix bit for bit, and entry (i, j) entry (j, i), so
// that integers taken off a gain are those that were put on. A BLAS promises neither, since its order of summation
// depends on the shape of the call.
//
// A file that includes this has set the target, ACS_NAMESPACE, ACS_BYTES (of a vector), ACS_MR (rows of a micro-tile),
// ACS_NV (vectors across it), ACS_TILE (rows of a tile), and `fused` and `root`: its multiply-add and square root.
// Everything here has internal linkage, so that no code for a newer processor can leak into shared functions.
#pragma once

#include "dots.h"
#include "greedy.h"
#include "mirrors.h"
#include "tiles.h"
#include "updates.h"
#include "vectors.h"

namespace acs_fast::ACS_NAMESPACE {
namespace {

template <class T>
constexpr Kernels<T> table() {
  constexpr int nr = ACS_NV * kLanes<T>;
  static_assert(ACS_TILE % nr == 0 && ACS_TILE % ACS_MR == 0, "micro-tiles must fill a tile");
  return {ACS_MR, nr, ACS_TILE,
          multiply_kernel<T>, combine_kernel<T>, distance_row_kernel<T>,
          transpose_kernel<T>, mirrors_kernel<T>,
          clamp_sum_kernel<T>, clamp_total_kernel<T>, find_lower_kernel<T>, argmax_kernel,
          dots_kernel<T>, dot_kernel<T>, dot_differences_kernel<T>,
          add_columns_kernel<T>};
}

}  // namespace

const Kernels<float> kFloat = table<float>();
const Kernels<double> kDouble = table<double>();
const DoubleKernels kExtra = {subtract_kernel, rotate_kernel};

}  // namespace acs_fast::ACS_NAMESPACE
