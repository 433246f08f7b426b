// Gradient matching by several processes: each takes the correlations of some samples, all of them the same refits.
#pragma once

#include <cstdint>
#include <functional>

#include "distances.h"

namespace acs_fast {

// The sample with the largest inner product with what is left of the target, or -1 for none.
struct Leader {
  int64_t sample;
  double correlation, to_target;  // to_target: its inner product with the target itself
};

struct Meeting {
  std::function<double(double)> largest;  // of what the processes bring
  std::function<Leader(Leader)> best;     // the leader of all, the lowest sample among equals
};

// One group of all samples in `factors`, with the correlations of those in `own` taken here; returns how many were picked
// and writes them to the outputs, [budget] each, in pick order.
template <class T>
int64_t match_part(const Factors<T>& factors, const double* target, int64_t budget, double ridge, Span own,
                   const Meeting& meeting, int threads, int64_t* indices, double* weights, double* gains);

}  // namespace acs_fast
