// Argument checks that every operator shares: each message names the argument, what was expected, and what came.
#pragma once

#include <ATen/ATen.h>

#include <limits>
#include <vector>

namespace acs_fast {

inline void check_floating(const at::Tensor& x, const char* name) {
  TORCH_CHECK_TYPE(x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble || x.scalar_type() == at::kHalf ||
                       x.scalar_type() == at::kBFloat16,
                   name, " must have a floating dtype (float16 to float64); got ", x.scalar_type());
}

inline void check_same_device(const at::Tensor& x, const char* name, const at::Tensor& like, const char* like_name) {
  TORCH_CHECK_VALUE(x.device() == like.device(), name, " and ", like_name, " must be on one device; got ", x.device(),
                    " and ", like.device());
}

inline void check_factors(const at::Tensor& residuals, const at::Tensor& features) {
  check_floating(residuals, "residuals");
  check_floating(features, "features");
  TORCH_CHECK_VALUE(residuals.dim() == 3, "residuals must be [N, R, C]; got ", residuals.sizes());
  TORCH_CHECK_VALUE(features.dim() == 3, "features must be [N, R, D]; got ", features.sizes());
  TORCH_CHECK_VALUE(residuals.size(0) == features.size(0) && residuals.size(1) == features.size(1),
                    "residuals and features must agree in N and R; got ", residuals.sizes(), " and ", features.sizes());
  TORCH_CHECK_TYPE(residuals.scalar_type() == features.scalar_type(), "residuals and features must share a dtype; got ",
                   residuals.scalar_type(), " and ", features.scalar_type());
  check_same_device(residuals, "residuals", features, "features");
  TORCH_CHECK_VALUE(residuals.size(0) <= std::numeric_limits<int32_t>::max() - 1024, "residuals must hold fewer than ",
                    "2^31 - 1024 samples; got ", residuals.size(0));
}

inline void check_integers(const at::Tensor& x, const char* name, int64_t length) {
  TORCH_CHECK_TYPE(x.scalar_type() == at::kLong, name, " must be int64; got ", x.scalar_type());
  TORCH_CHECK_VALUE(x.dim() == 1 && (length < 0 || x.size(0) == length), name, " must have shape [",
                    length < 0 ? std::string("G") : std::to_string(length), "]; got ", x.sizes());
}

// Independent problems: group i is members[offsets[i] : offsets[i + 1]], of which budgets[i] are picked.
struct Problems {
  at::Tensor members;
  std::vector<int64_t> offsets, budgets, starts;  // starts: where each group's picks go, [G + 1]

  int64_t count() const { return int64_t(budgets.size()); }
  int64_t size(int64_t group) const { return offsets[group + 1] - offsets[group]; }
  const int64_t* group(int64_t i) const { return members.const_data_ptr<int64_t>() + offsets[i]; }
};

inline std::vector<int64_t> to_vector(const at::Tensor& x) {
  const at::Tensor host = x.to(at::kCPU).contiguous();
  return {host.const_data_ptr<int64_t>(), host.const_data_ptr<int64_t>() + host.numel()};
}

inline Problems check_problems(int64_t n, const at::Tensor& members, const at::Tensor& offsets,
                               const at::Tensor& budgets, int64_t budget) {
  check_integers(members, "members", -1);
  check_integers(offsets, "offsets", -1);
  check_integers(budgets, "budgets", -1);
  TORCH_CHECK_VALUE(offsets.size(0) == budgets.size(0) + 1, "offsets must have one entry more than budgets; got ",
                    offsets.sizes(), " and ", budgets.sizes());
  Problems p{members.contiguous(), to_vector(offsets), to_vector(budgets), {0}};
  TORCH_CHECK_VALUE(p.offsets.front() == 0 && p.offsets.back() == members.size(0), "offsets must run from 0 to ",
                    members.size(0), ", the number of members; got ", p.offsets.front(), " to ", p.offsets.back());
  for (int64_t i = 0; i < p.count(); ++i) {
    TORCH_CHECK_VALUE(p.size(i) >= 0, "offsets must not decrease; got ", p.offsets[i + 1], " after ", p.offsets[i]);
    TORCH_CHECK_VALUE(0 <= p.budgets[i] && p.budgets[i] <= p.size(i), "budgets must be between 0 and the size of the ",
                      "group; got ", p.budgets[i], " for group ", i, " of ", p.size(i));
    p.starts.push_back(p.starts.back() + p.budgets[i]);
  }
  TORCH_CHECK_VALUE(p.starts.back() == budget, "budgets must sum to budget, ", budget, "; got ", p.starts.back());
  const int64_t* m = p.members.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < members.size(0); ++i)
    TORCH_CHECK_VALUE(0 <= m[i] && m[i] < n, "members must lie in [0, ", n, "); got ", m[i]);
  return p;
}

}  // namespace acs_fast
