// What Python hands over: arrays by address, their sizes, independent problems. Checked there, and contiguous.
#pragma once

#include <cstdint>
#include <vector>

#include "distances.h"

namespace acs_fast {

// Residuals [N, R, C] and features [N, R, D], both float or both double.
struct FactorArrays {
  const void *residuals, *features;
  bool is_double;
  int64_t N, R, C, D;
  bool bias;

  template <class T>
  Factors<T> group(const int64_t* members, int64_t n) const {
    return {static_cast<const T*>(residuals), static_cast<const T*>(features), members, n, R, C, D, bias};
  }
};

// Group i is members[offsets[i] : offsets[i + 1]], of which budgets[i] are picked.
struct Problems {
  Problems(const int64_t* all_members, const int64_t* group_offsets, const int64_t* group_budgets, int64_t groups)
      : members(all_members),
        offsets(group_offsets, group_offsets + groups + 1),
        budgets(group_budgets, group_budgets + groups),
        starts{0} {
    for (const int64_t k : budgets) starts.push_back(starts.back() + k);
  }

  int64_t count() const { return int64_t(budgets.size()); }
  int64_t size(int64_t group) const { return offsets[group + 1] - offsets[group]; }
  const int64_t* group(int64_t i) const { return members + offsets[i]; }

  const int64_t* members;
  std::vector<int64_t> offsets, budgets, starts;  // starts: where each group's picks go, [G + 1]
};

}  // namespace acs_fast
