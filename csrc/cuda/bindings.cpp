// The CUDA greedy as a torch operator: checks, memory, stream; the work is in greedy.cu.
#include <ATen/cuda/CUDAContext.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <torch/library.h>

#include <cstring>
#include <tuple>
#include <vector>

#include "greedy.h"

namespace acs {
namespace {

using at::Tensor;

struct Sizes {
  std::vector<Group> groups;
  int64_t members = 0, picks = 0;
};

void check_arguments(const Tensor& distances, const Tensor& layout, const Tensor& budgets, const Tensor& largest) {
  TORCH_CHECK_VALUE(distances.is_cuda(), "distances must be on a CUDA device; got ", distances.device());
  TORCH_CHECK_VALUE(distances.dim() == 1 && distances.is_contiguous(), "distances must be flat and contiguous; got shape ",
                    distances.sizes());
  TORCH_CHECK_TYPE(distances.scalar_type() == at::kFloat || distances.scalar_type() == at::kDouble,
                   "distances must be float32 or float64; got ", distances.scalar_type());
  TORCH_CHECK_VALUE(layout.is_cpu() && layout.dim() == 2 && layout.size(1) == 4, "layout must be [G, 4] on the CPU; got ",
                    layout.sizes(), " on ", layout.device());
  TORCH_CHECK_VALUE(budgets.is_cpu() && budgets.dim() == 1 && budgets.size(0) == layout.size(0),
                    "budgets must be [G] on the CPU, G = ", layout.size(0), "; got ", budgets.sizes(), " on ",
                    budgets.device());
  TORCH_CHECK_TYPE(layout.scalar_type() == at::kLong && budgets.scalar_type() == at::kLong,
                   "layout and budgets must be int64; got ", layout.scalar_type(), " and ", budgets.scalar_type());
  TORCH_CHECK_VALUE(largest.device() == distances.device() && largest.scalar_type() == distances.scalar_type() &&
                        largest.numel() == layout.size(0),
                    "largest must be [G] like the distances; got ", largest.sizes(), " ", largest.scalar_type(), " on ",
                    largest.device());
}

Sizes read_groups(const Tensor& distances, const Tensor& layout, const Tensor& budgets, int64_t budget) {
  const Tensor table = layout.contiguous(), shares = budgets.contiguous();
  const int64_t* row = table.const_data_ptr<int64_t>();
  const int64_t* share = shares.const_data_ptr<int64_t>();
  Sizes sizes;
  for (int64_t i = 0; i < table.size(0); ++i, row += 4) {
    const int64_t first = row[0], n = row[1], start = row[2], stride = row[3];
    TORCH_CHECK_VALUE(first == sizes.members && n >= 1 && n < (int64_t{1} << 31), "layout: group ", i,
                      " must begin at member ", sizes.members, " and have 1 to 2^31 - 1 members; got ", first, " and ", n);
    TORCH_CHECK_VALUE(stride >= n && start >= 0 && start + (n - 1) * stride + n <= distances.numel(), "layout: group ", i,
                      " must lie within ", distances.numel(), " distances; got start ", start, ", stride ", stride);
    TORCH_CHECK_VALUE(share[i] >= 1 && share[i] <= n, "budgets: group ", i, " of ", n, " members can take 1 to ", n,
                      " picks; got ", share[i]);
    sizes.groups.push_back({start, stride, first, sizes.picks, static_cast<int32_t>(n), static_cast<int32_t>(share[i])});
    sizes.members += n;
    sizes.picks += share[i];
  }
  TORCH_CHECK_VALUE(sizes.picks == budget, "budget must be the sum of budgets, ", sizes.picks, "; got ", budget);
  return sizes;
}

// A vector's bytes on the device, through pinned memory, in the order of the current stream.
template <typename V>
Tensor upload(const std::vector<V>& values, const Tensor& like) {
  const int64_t bytes = static_cast<int64_t>(values.size() * sizeof(V));
  const Tensor host = at::empty({bytes}, at::TensorOptions().dtype(at::kByte).pinned_memory(true));
  if (bytes > 0) std::memcpy(host.mutable_data_ptr(), values.data(), bytes);
  return host.to(like.device(), /*non_blocking=*/true);
}

template <typename T>
GreedyPlan plan_on_device(const std::vector<Group>& groups) {
  const cudaDeviceProp* properties = at::cuda::getCurrentDeviceProperties();
  const Device device{properties->multiProcessorCount, properties->sharedMemPerBlockOptin};
  const size_t region = plan_greedy(groups, sizeof(T), device, 1).region_bytes;
  int blocks = 0;
  C10_CUDA_CHECK(greedy_blocks_per_multiprocessor<T>(region, &blocks));
  TORCH_CHECK(blocks > 0, "the greedy kernel does not fit on ", properties->name);
  return plan_greedy(groups, sizeof(T), device, blocks * device.multiprocessors);
}

using Result = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;

template <typename T>
Result run(const Tensor& distances, const Tensor& largest, const Sizes& sizes, bool symmetric) {
  const GreedyPlan plan = plan_on_device<T>(sizes.groups);
  const int64_t n = sizes.members, k = sizes.picks, g = static_cast<int64_t>(sizes.groups.size());
  const auto on_device = [&](at::ScalarType type) { return distances.options().dtype(type); };
  const Tensor groups = upload(sizes.groups, distances), roles = upload(plan.roles, distances),
               queue = upload(plan.queue, distances);
  const Tensor slots = at::zeros({4 * plan.slots + 2}, on_device(at::kLong));
  const Tensor counters = at::zeros({2 * g + 1}, on_device(at::kInt));
  const Tensor gain = at::empty({n}, on_device(at::kLong)), level = at::empty({n}, distances.options());
  const Tensor row = at::empty({n}, on_device(at::kInt)), levels = at::empty({2 * n}, on_device(at::kLong));
  const Tensor picks = at::empty({k}, on_device(at::kLong)), gains = at::empty({k}, on_device(at::kDouble));
  const Tensor weights = at::zeros({k}, on_device(at::kFloat)), assignment = at::empty({n}, on_device(at::kLong));
  const Tensor objective = at::zeros({g}, on_device(at::kLong)), unit = at::empty({g}, on_device(at::kDouble));
  const Tensor top = largest.contiguous();
  GreedyArguments<T> a{};
  a.distances = distances.const_data_ptr<T>();
  a.d_max = top.const_data_ptr<T>();
  a.groups = static_cast<const Group*>(groups.const_data_ptr());
  a.roles = static_cast<const BlockRole*>(roles.const_data_ptr());
  a.queue = static_cast<const int32_t*>(queue.const_data_ptr());
  a.queue_length = static_cast<int32_t>(plan.queue.size());
  a.symmetric = symmetric;
  a.region_bytes = plan.region_bytes;
  a.slots = slots.mutable_data_ptr();
  a.queue_head = counters.mutable_data_ptr<int32_t>();
  a.touched = a.queue_head + 1;
  a.gain = reinterpret_cast<long long*>(gain.mutable_data_ptr<int64_t>());
  a.level = level.mutable_data_ptr<T>();
  a.touched_row = row.mutable_data_ptr<int32_t>();
  a.touched_levels = reinterpret_cast<long long*>(levels.mutable_data_ptr<int64_t>());
  a.picks = picks.mutable_data_ptr<int64_t>();
  a.gains = gains.mutable_data_ptr<double>();
  a.weights = weights.mutable_data_ptr<float>();
  a.assignment = assignment.mutable_data_ptr<int64_t>();
  a.objective = reinterpret_cast<unsigned long long*>(objective.mutable_data_ptr<int64_t>());
  a.unit = unit.mutable_data_ptr<double>();
  C10_CUDA_CHECK(launch_greedy<T>(a, static_cast<int>(plan.roles.size()), at::cuda::getCurrentCUDAStream()));
  C10_CUDA_KERNEL_LAUNCH_CHECK();
  return {picks, gains, weights, assignment, objective.to(at::kDouble).mul(unit)};
}

Result packed_greedy(const Tensor& distances, const Tensor& layout, const Tensor& budgets, int64_t budget,
                     const Tensor& largest, bool symmetric) {
  check_arguments(distances, layout, budgets, largest);
  const Sizes sizes = read_groups(distances, layout, budgets, budget);
  TORCH_CHECK_VALUE(!sizes.groups.empty(), "layout must name at least one group");
  const c10::cuda::CUDAGuard guard(distances.device());
  return distances.scalar_type() == at::kDouble ? run<double>(distances, largest, sizes, symmetric)
                                                : run<float>(distances, largest, sizes, symmetric);
}

}  // namespace

TORCH_LIBRARY_IMPL(acs_fast, CUDA, m) { m.impl("packed_greedy", &packed_greedy); }

}  // namespace acs
