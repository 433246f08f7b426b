// Samples in the order of clusters, so that neighbours in it are alike.
#pragma once

#include <vector>

#include "distances.h"

namespace acs_fast {

// Puts the samples in the order of the nearest of some centres; returns the largest distance to one. `buffers`: scratch
// of each member of the team
template <class T>
T order_by_clusters(Team& team, Distances<T>& distances, std::vector<TileBuffers<T>>& buffers);

}  // namespace acs_fast
