#include "cluster_order.h"

#include <algorithm>
#include <numeric>

namespace acs_fast {
namespace {

// The places of the centres along a path that goes on to the nearest one left
template <class T>
std::vector<int32_t> path(const Distances<T>& distances, const std::vector<int32_t>& centres, const TileSide<T>& side,
                          TileBuffers<T>& own) {
  const int64_t count = int64_t(centres.size()), size = distances.tile_size();
  Panels<T> panels = distances.columns(count);
  const TileSide<T> columns = distances.open(panels, centres.data(), 0, count);
  distances.tile(side, columns, 0, count, own, own.d.data(), size);
  std::vector<int32_t> place(count, -1);
  for (int64_t at = 0, step = 0; step < count; ++step) {
    place[at] = int32_t(step);
    int64_t next = -1;
    for (int64_t c = 0; c < count; ++c)
      if (place[c] < 0 && (next < 0 || own.d[at * size + c] < own.d[at * size + next])) next = c;
    at = next;
  }
  return place;
}

}  // namespace

template <class T>
T order_by_clusters(Team& team, Distances<T>& distances, std::vector<TileBuffers<T>>& buffers) {
  const int64_t n = distances.n(), size = distances.tile_size(), count = std::min(size, n);
  std::vector<int32_t> centres(count), nearest(n), order(n);
  for (int64_t c = 0; c < count; ++c) centres[c] = int32_t(c * n / count);
  std::vector<T> largest(team.size(), T(0));
  const auto assign = [&](const TileSide<T>& side, int64_t tile, int rank) {
    TileBuffers<T>& own = buffers[rank];
    const int64_t j0 = tile * size, width = std::min(size, n - j0);
    const T top = distances.tile(side, distances.all(), j0, j0 + width, own, own.d.data(), size);
    largest[rank] = std::max(largest[rank], top);
    for (int64_t c = 0; c < count; ++c)
      for (int64_t j = 0; j < width; ++j)
        if (own.d[c * size + j] < own.d[nearest[j0 + j] * size + j]) nearest[j0 + j] = int32_t(c);
  };
  team.run([&](int rank) { distances.prepare(team, rank); });
  Panels<T> panels = distances.rows(size);
  std::vector<int32_t> place;
  team.lead([&] {
    const TileSide<T> side = distances.open(panels, centres.data(), 0, count);
    place = path(distances, centres, side, buffers[0]);
    team.share(distances.tiles(), [&](int64_t tile, int rank) { assign(side, tile, rank); });
  });
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return place[nearest[a]] < place[nearest[b]]; });
  distances.reorder(order);
  team.run([&](int rank) { distances.pack(team, rank); });
  return *std::max_element(largest.begin(), largest.end());
}

template float order_by_clusters(Team&, Distances<float>&, std::vector<TileBuffers<float>>&);
template double order_by_clusters(Team&, Distances<double>&, std::vector<TileBuffers<double>>&);

}  // namespace acs_fast
