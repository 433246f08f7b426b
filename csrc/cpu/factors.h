// Tensors to factors: a dtype that sums may be taken in, contiguous, detached; and how many threads to use.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "../checks.h"
#include "distances.h"

namespace acs_fast {

inline int threads() { return at::in_parallel_region() ? 1 : at::get_num_threads(); }

struct FactorTensors {
  FactorTensors(const at::Tensor& r, const at::Tensor& h, bool with_bias) : bias(with_bias) {
    check_factors(r, h);
    const auto dtype = r.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
    residuals = r.detach().to(dtype).contiguous();
    features = h.detach().to(dtype).contiguous();
  }
  template <class T>
  Factors<T> group(const int64_t* members, int64_t n) const {
    return {residuals.const_data_ptr<T>(), features.const_data_ptr<T>(), members, n, residuals.size(1),
            residuals.size(2), features.size(2), bias};
  }
  bool is_double() const { return residuals.scalar_type() == at::kDouble; }

  at::Tensor residuals, features;
  bool bias;
};

}  // namespace acs_fast
