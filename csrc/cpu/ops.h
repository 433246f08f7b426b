// The operators for tensors on the CPU; schemas in acs_fast/ops/schemas.py.
#pragma once

#include <ATen/ATen.h>

#include <tuple>

namespace acs_fast {

using Tensors3 = std::tuple<at::Tensor, at::Tensor, at::Tensor>;
using Tensors4 = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

at::Tensor pairwise_distances_cpu(const at::Tensor& residuals, const at::Tensor& features, bool bias, bool squared);

Tensors3 greedy_cpu(const at::Tensor& distances, int64_t budget);

Tensors4 facility_location_cpu(const at::Tensor& residuals, const at::Tensor& features, bool bias, bool squared,
                               const at::Tensor& members, const at::Tensor& offsets, const at::Tensor& budgets,
                               int64_t budget, int64_t workspace_bytes);

Tensors4 gradient_matching_cpu(const at::Tensor& residuals, const at::Tensor& features, bool bias,
                               const at::Tensor& members, const at::Tensor& offsets, const at::Tensor& budgets,
                               int64_t budget, const at::Tensor& targets, double ridge);

}  // namespace acs_fast
