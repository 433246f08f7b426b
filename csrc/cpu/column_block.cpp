#include "column_block.h"

#include <cmath>

#include "greedy.h"

namespace acs_fast {

template <class T>
ColumnBlock<T>::ColumnBlock(const Factors<T>& columns, const double* means, bool squared, int threads)
    : distances_(columns, squared) {
  Team team(threads);
  team.run([&](int rank) { distances_.prepare_columns(means, team, rank); });
}

template <class T>
void ColumnBlock<T>::rows(const Factors<T>& rows, int64_t begin, T* out, int64_t stride, int threads) const {
  const int64_t tile = distances_.tile_size(), width = distances_.n();
  const int64_t across = (width - begin + tile - 1) / tile;
  Centred<T> centred(rows);
  centred.set_means(distances_.centred().means());
  Panels<T> panels(rows, kernels<T>().mr, tile);
  std::vector<int32_t> samples(tile);
  Team team(threads);
  std::vector<TileBuffers<T>> buffers;
  for (int member = 0; member < team.size(); ++member) buffers.push_back(distances_.buffers());
  team.lead([&] {
    for (int64_t first = 0; first < rows.n; first += tile) {
      const int64_t count = std::min(tile, rows.n - first);
      for (int64_t i = 0; i < count; ++i) samples[i] = int32_t(first + i);
      panels.pack(centred, samples.data(), count, 0, panels.panels(count));
      const TileSide<T> opened{rows, panels, count, samples.data(), 0};
      team.share(across, [&](int64_t part, int rank) {
        const int64_t from = begin + part * tile, to = std::min(width, from + tile);
        distances_.tile(opened, distances_.all(), from, to, buffers[rank], out + first * stride + from - begin, stride);
      });
    }
  });
}

template <class T>
void lower_gains(int64_t* gains, int64_t width, const T* distances, int64_t stride, const int64_t* index, int64_t count,
                 const T* low, const T* high, double scale, int threads) {
  constexpr int64_t kColumns = 4096;  // of the gains, which stay in a cache while all rows pass
  Team team(int(std::min<int64_t>(threads, width / kSpanStep + 1)));
  std::atomic<int64_t> next{0};
  team.run([&](int) {
    for (int64_t begin = next.fetch_add(kColumns); begin < width; begin = next.fetch_add(kColumns))
      for (int64_t first = 0; first < count; first += kRowsAtOnce) {
        const int size = int(std::min<int64_t>(kRowsAtOnce, count - first));
        const T* rows[kRowsAtOnce];
        uint64_t offset = 0;
        for (int r = 0; r < size; ++r) {
          rows[r] = distances + (index ? index[first + r] : first + r) * stride;
          offset -= kRoundingMagicBits + uint64_t(std::llrint(double(high[first + r]) * scale));
        }
        kernels<T>().clamp_sum(reinterpret_cast<uint64_t*>(gains), rows, low + first, high + first, size, begin,
                               std::min(width, begin + kColumns), scale, offset);
      }
  });
}

template class ColumnBlock<float>;
template class ColumnBlock<double>;
template void lower_gains(int64_t*, int64_t, const float*, int64_t, const int64_t*, int64_t, const float*, const float*,
                          double, int);
template void lower_gains(int64_t*, int64_t, const double*, int64_t, const int64_t*, int64_t, const double*,
                          const double*, double, int);

}  // namespace acs_fast
