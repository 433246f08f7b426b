// The operators on the CPU, as specified in acs_fast/ops/reference: into outputs that the caller has allocated.
#pragma once

#include <cstdint>

#include "factors.h"
#include "stages.h"

namespace acs_fast {

// distances [N, N], float or double like the factors
StageSeconds pairwise_distances(const FactorArrays& factors, bool squared, int threads, void* distances);

// distances [n, n]; indices [budget], gains [budget], assignment [n]. Throws std::invalid_argument where a distance is
// negative or not finite.
template <class T>
StageSeconds greedy(const T* distances, int64_t n, int64_t budget, int threads, int64_t* indices, double* gains,
                    int64_t* assignment);

// k = the sum of the budgets, G = the number of groups; indices [k], weights [k], gains [k], objectives [G]
StageSeconds facility_location(const FactorArrays& factors, bool squared, const Problems& problems,
                               int64_t workspace_bytes, int threads, int64_t* indices, float* weights, double* gains,
                               double* objectives);

// Bytes of a group of n samples on its whole distance matrix; one that may have fewer is solved without
double facility_location_dense_bytes(const FactorArrays& factors, int64_t n, int threads, int64_t budget);

// targets [G, C, D (+1)]; indices [k], weights [k], gains [k], counts [G]; a group that stops early writes no more
StageSeconds gradient_matching(const FactorArrays& factors, const Problems& problems, const double* targets,
                               double ridge, int threads, int64_t* indices, double* weights, double* gains,
                               int64_t* counts);

}  // namespace acs_fast
