// Which blocks solve which group: teams for large groups, in proportion to their work; a queue for the others.
#include <algorithm>
#include <numeric>

#include "greedy.h"

namespace acs_fast::cuda {
namespace {

size_t region_for(const std::vector<Group>& groups, size_t element_bytes, int threads, const Device& device) {
  size_t wanted = 0, staged = 0;
  for (const Group& g : groups) {
    const Region region = region_of(g.size, g.size, element_bytes);
    if (g.size <= kReplicatedRows) wanted = std::max(wanted, region.gains);
    staged = std::max(staged, region.matrix);
  }
  if (staged <= kStagedBytes) wanted = (staged + 15) / 16 * 16;  // all of them
  const size_t room = (device.shared_bytes - greedy_fixed_bytes(threads, element_bytes)) / 16 * 16;
  return std::min(wanted, room);
}

}  // namespace

// `resident_blocks`: all that the device holds at once; `threads` and `region_bytes` are the same for any value of it.
GreedyPlan plan_greedy(const std::vector<Group>& groups, size_t element_bytes, const Device& device,
                       int resident_blocks) {
  GreedyPlan plan;
  double work = 0.0;
  int largest = 0;
  for (const Group& g : groups) {
    work += static_cast<double>(g.size) * g.size;
    largest = std::max<int>(largest, g.size);
  }
  plan.threads = largest <= kSmallRows ? kThreadsOfSmall : kThreadsOfLarge;
  plan.region_bytes = region_for(groups, element_bytes, plan.threads, device);
  // a block that follows all rows by itself reads whole columns: more than one on a multiprocessor only share its caches
  const int for_teams = largest <= kReplicatedRows ? std::min(resident_blocks, device.multiprocessors) : resident_blocks;
  for (int32_t i = 0; i < static_cast<int32_t>(groups.size()); ++i) {
    const double n = groups[i].size;
    const int share = work > 0.0 ? static_cast<int>(n * n / work * for_teams * (1.0 - 1e-9)) : 0;
    const int size = groups.size() == 1 ? for_teams : share;
    const int team = std::min(size, (groups[i].size + kColumnsPerBlock - 1) / kColumnsPerBlock);
    if (team < 2) {
      plan.queue.push_back(i);
      continue;
    }
    for (int32_t rank = 0; rank < team; ++rank) plan.roles.push_back({i, rank, team, plan.slots});
    plan.slots += team;
  }
  std::stable_sort(plan.queue.begin(), plan.queue.end(),
                   [&](int32_t a, int32_t b) { return groups[a].size > groups[b].size; });
  const int left = std::max(1, resident_blocks - static_cast<int>(plan.roles.size()));
  const int takers = std::min<int>(left, static_cast<int>(plan.queue.size()));
  plan.roles.insert(plan.roles.end(), takers, BlockRole{-1, 0, 1, 0});
  return plan;
}

}  // namespace acs_fast::cuda
