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
T ColumnBlock<T>::pairs(T* out, int64_t stride, int64_t block, int64_t rank, int64_t ranks, int threads) const {
  const int64_t n = distances_.n(), tile = distances_.tile_size();
  Team team(threads);
  std::vector<T> largest(team.size(), T(0));
  std::atomic<int64_t> next{0};
  team.run([&](int member) {
    TileBuffers<T> buffers = distances_.buffers();
    const T* d = buffers.d.data();
    upper_pairs(next, (n + block - 1) / block, [&](int64_t a, int64_t b) {
      if ((a + b) % ranks != rank) return;
      const int64_t i0 = a * block, j0 = b * block;
      const int64_t i1 = std::min(n, i0 + block), j1 = std::min(n, j0 + block);
      const TileSide<T> rows = distances_.open_rows(buffers, i0, i1 - i0);
      largest[member] = std::max(
          largest[member], distances_.tile(rows, distances_.all(), j0, j1, buffers, buffers.d.data(), tile));
      T* along = out + i0 * stride + b / ranks * block;
      for (int64_t i = 0; i < i1 - i0; ++i) std::copy_n(d + i * tile, j1 - j0, along + i * stride);
      if (a != b) kernels<T>().transpose(d, tile, i1 - i0, j1 - j0, out + j0 * stride + a / ranks * block, stride);
    });
  });
  return *std::max_element(largest.begin(), largest.end());
}

template <class T>
void ColumnBlock<T>::rows(const Factors<T>& rows, T* out, int threads) const {
  const int64_t tile = distances_.tile_size(), width = distances_.n(), across = distances_.tiles();
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
      team.share(across, [&](int64_t part, int member) {
        const int64_t j0 = part * tile, j1 = std::min(width, j0 + tile);
        distances_.tile(opened, distances_.all(), j0, j1, buffers[member], out + first * width + j0, width);
      });
    }
  });
}

template <class T>
void add_factors(const Factors<T>& f, double* sums) {
  for (int64_t i = 0; i < f.n; ++i)
    for (int64_t a = 0; a < f.R; ++a) {
      const T *r = f.residual(i, a), *h = f.feature(i, a);
      double* sum = sums + a * (f.C + f.D);
      for (int64_t c = 0; c < f.C; ++c) sum[c] += double(r[c]);
      for (int64_t d = 0; d < f.D; ++d) sum[f.C + d] += double(h[d]);
    }
}

template <class T>
void lower_gains(int64_t* gains, int64_t width, const T* distances, int64_t stride, const int64_t* index, int64_t count,
                 const T* low, const T* high, double scale, int threads) {
  constexpr int64_t kMost = 1 << 15;  // columns at once, whose gains stay in a cache while all rows pass
  Team team(int(std::min<int64_t>(threads, width / kSpanStep + 1)));
  const int64_t parts = (width + kMost - 1) / kMost * (team.size() == 1 ? 1 : 4 * team.size());
  const int64_t columns = (width / std::max<int64_t>(parts, 1) / kSpanStep + 1) * kSpanStep;
  std::atomic<int64_t> next{0};
  team.run([&](int) {
    for (int64_t begin = next.fetch_add(columns); begin < width; begin = next.fetch_add(columns))
      for (int64_t first = 0; first < count; first += kRowsAtOnce) {
        const int size = int(std::min<int64_t>(kRowsAtOnce, count - first));
        const T* rows[kRowsAtOnce];
        uint64_t offset = 0;
        for (int r = 0; r < size; ++r) {
          rows[r] = distances + (index ? index[first + r] : first + r) * stride;
          offset -= kRoundingMagicBits + uint64_t(std::llrint(double(high[first + r]) * scale));
        }
        kernels<T>().clamp_sum(reinterpret_cast<uint64_t*>(gains), rows, low + first, high + first, size, begin,
                               std::min(width, begin + columns), scale, offset);
      }
  });
}

template <class T>
int64_t lower_entries(const T* distances, int64_t stride, const int64_t* index, int64_t count, const T* level,
                      int64_t width, double scale, int64_t* row, int64_t* column, T* entry) {
  std::vector<int32_t> lower(width + 2 * kSpanStep);
  int64_t found = 0;
  for (int64_t t = 0; t < count; ++t) {
    const T* d = distances + index[t] * stride;
    const int64_t candidates = kernels<T>().find_lower(d, level, width, lower.data());
    for (int64_t c = 0; c < candidates; ++c) {
      const int32_t j = lower[c];
      if (std::llrint(double(d[j]) * scale) >= std::llrint(double(level[j]) * scale)) continue;
      row[found] = t, column[found] = j, entry[found] = d[j];
      ++found;
    }
  }
  return found;
}

template class ColumnBlock<float>;
template class ColumnBlock<double>;
template void add_factors(const Factors<float>&, double*);
template void add_factors(const Factors<double>&, double*);
template void lower_gains(int64_t*, int64_t, const float*, int64_t, const int64_t*, int64_t, const float*, const float*,
                          double, int);
template void lower_gains(int64_t*, int64_t, const double*, int64_t, const int64_t*, int64_t, const double*,
                          const double*, double, int);
template int64_t lower_entries(const float*, int64_t, const int64_t*, int64_t, const float*, int64_t, double, int64_t*,
                               int64_t*, float*);
template int64_t lower_entries(const double*, int64_t, const int64_t*, int64_t, const double*, int64_t, double, int64_t*,
                               int64_t*, double*);

}  // namespace acs_fast
