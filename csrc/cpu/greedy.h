// Exact greedy facility location by a team of threads, each owning a range of the candidates.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "team.h"

namespace acs_fast {

constexpr int64_t kSpanStep = 64;  // ranges of candidates begin at its multiples, which start a panel and a cache line

// Distances as integers round(d * 2^e): the sums do not depend on their order, and every backend sees the same ties.
struct Quantiser {
  Quantiser(double d_max, int64_t n) {
    constexpr int kMaxBits = 50;  // of one distance: float64 arithmetic on them stays exact
    int exponent = 0, bits = 0;
    if (d_max > 0.0) std::frexp(d_max, &exponent);
    while (bits < 62 && (int64_t(1) << bits) < n) ++bits;  // n of them sum below 2^62
    exponent = std::min(std::min(kMaxBits, 62 - bits) - exponent, 1000);
    scale = std::ldexp(1.0, exponent);
    unit = std::ldexp(1.0, -exponent);
  }
  int64_t operator()(double d) const { return std::llrint(d * scale); }

  double scale, unit;
};

struct GreedyResult {
  int64_t* indices;     // [k]
  double* gains;        // [k]
  int64_t* assignment;  // [n]
  double objective;
};

// gain_j = sum_i max(current_i - q_ij, 0) for every candidate j. A pick lowers current_i for some rows, and only those
// rows change any gain, by current_i - clamp(q_ij, new current_i, current_i).
//
// A `Source` of distances has
//   const T* column(int64_t j, Team&, int rank)         what every sample pays for j, [n]; called by all members
//   int64_t rows_at_once(), columns_at_once()           the block that `rows` serves
//   void open(const int32_t* i, int64_t count, int rank)
//   void rows(Span columns, int rank, const T** out)    out[r][j] is the distance d(i_r, j) for j in `columns`
template <class T>
class Greedy {
 public:
  Greedy(Team& team, int64_t n, double d_max)
      : n_(n), d_max_(T(d_max)), quantiser_(d_max, n), k_(kernels<T>()), gain_(n, 0), best_(team.size()) {}

  Span span(const Team& team, int rank) const { return team.part(rank, n_, kSpanStep); }

  // The gains before the first pick are n q_max less the sums of the quantised columns, which come in by blocks of rows
  void add_to_column_sums(uint64_t* sums, const T* const* rows, int64_t count, Span columns) const {
    T low[kRowsAtOnce] = {}, high[kRowsAtOnce];
    std::fill_n(high, kRowsAtOnce, d_max_);
    for (int64_t r = 0; r < count; r += kRowsAtOnce)
      k_.clamp_sum(sums, rows + r, low, high, int(std::min<int64_t>(kRowsAtOnce, count - r)), columns.begin, columns.end,
                   quantiser_.scale, 0);
  }
  void set_gains(const uint64_t* sums, Span columns) {
    const uint64_t all = uint64_t(n_) * (uint64_t(quantiser_(d_max_)) + kRoundingMagicBits);
    for (int64_t j = columns.begin; j < columns.end; ++j) gain_[j] = int64_t(all - sums[j]);
  }

  // Every member calls this once all gains are set; `result` is complete when all have returned
  template <class Source>
  void run(Team& team, int rank, Source& source, int64_t budget, GreedyResult& result) {
    const Span own = span(team, rank);
    std::vector<T> current(n_, d_max_);
    std::vector<int32_t> touched(n_ + 2 * kSpanStep);
    for (int64_t step = 0; step < budget; ++step) {
      if (own.begin < own.end) {
        const int64_t j = k_.argmax(gain_.data(), own.begin, own.end);
        best_[rank] = {gain_[j], j};
      } else {
        best_[rank] = {INT64_MIN, n_};
      }
      team.wait();
      Best pick = best_[0];
      for (const Best& b : best_) pick = b.gain > pick.gain ? b : pick;  // members are in order: lowest index first
      const T* column = source.column(pick.index, team, rank);
      int64_t count = k_.find_lower(column, current.data(), n_, touched.data());
      count = std::remove_if(touched.data(), touched.data() + count,
                             [&](int32_t i) { return quantiser_(column[i]) >= quantiser_(current[i]); }) -
              touched.data();
      lower(source, touched.data(), count, column, current.data(), own, rank);
      if (rank == 0) {
        result.indices[step] = pick.index;
        result.gains[step] = double(pick.gain) * quantiser_.unit;
        for (int64_t t = 0; t < count; ++t) result.assignment[touched[t]] = step;
      }
      if (own.begin <= pick.index && pick.index < own.end) gain_[pick.index] = -1;
      for (int64_t t = 0; t < count; ++t) current[touched[t]] = column[touched[t]];
      team.wait();  // before anyone overwrites its best or the shared column
    }
    if (rank != 0) return;
    int64_t sum = 0;
    for (const T level : current) sum += quantiser_(level);
    result.objective = double(sum) * quantiser_.unit;
  }

 private:
  template <class Source>
  void lower(Source& source, const int32_t* touched, int64_t count, const T* column, const T* current, Span own,
             int rank) {
    std::vector<const T*> rows(std::min(count, source.rows_at_once()));
    auto* gain = reinterpret_cast<uint64_t*>(gain_.data());
    for (int64_t first = 0; first < count; first += source.rows_at_once()) {
      const int64_t size = std::min(count - first, source.rows_at_once());
      source.open(touched + first, size, rank);
      for (int64_t j = own.begin; j < own.end; j += std::min(own.end - j, source.columns_at_once())) {
        const Span columns{j, j + std::min(own.end - j, source.columns_at_once())};
        source.rows(columns, rank, rows.data());
        for (int64_t r = 0; r < size; r += kRowsAtOnce)
          lower_block(gain, rows.data() + r, touched + first + r, std::min<int64_t>(kRowsAtOnce, size - r), column,
                      current, columns);
      }
    }
  }

  void lower_block(uint64_t* gain, const T* const* rows, const int32_t* touched, int64_t count, const T* column,
                   const T* current, Span columns) {
    T low[kRowsAtOnce], high[kRowsAtOnce];
    uint64_t offset = 0;
    for (int64_t r = 0; r < count; ++r) {
      low[r] = column[touched[r]];
      high[r] = current[touched[r]];
      offset -= kRoundingMagicBits + uint64_t(quantiser_(high[r]));
    }
    k_.clamp_sum(gain, rows, low, high, int(count), columns.begin, columns.end, quantiser_.scale, offset);
  }

  struct alignas(64) Best {
    int64_t gain, index;
  };

  const int64_t n_;
  const T d_max_;
  const Quantiser quantiser_;
  const Kernels<T>& k_;
  std::vector<int64_t> gain_;
  std::vector<Best> best_;
};

// Distances from a matrix in memory.
template <class T>
class MatrixSource {
 public:
  // transposed: the matrix whose rows are the columns of d, which a symmetric d itself is, or null
  MatrixSource(const T* d, int64_t n, const T* transposed, int members)
      : d_(d), n_(n), transposed_(transposed), column_(transposed ? 0 : n), opened_(members) {}

  const T* column(int64_t j, Team& team, int rank) {
    if (transposed_) return transposed_ + j * n_;
    const Span own = team.part(rank, n_, kSpanStep);
    for (int64_t i = own.begin; i < own.end; ++i) column_[i] = d_[i * n_ + j];
    team.wait();
    return column_.data();
  }
  int64_t rows_at_once() const { return n_; }
  int64_t columns_at_once() const { return n_; }
  void open(const int32_t* i, int64_t count, int rank) { opened_[rank] = {i, count}; }
  void rows(Span, int rank, const T** out) {
    for (int64_t r = 0; r < opened_[rank].count; ++r) out[r] = d_ + opened_[rank].i[r] * n_;
  }

 private:
  struct alignas(64) Opened {
    const int32_t* i;
    int64_t count;
  };
  const T* d_;
  const int64_t n_;
  const T* const transposed_;
  std::vector<T> column_;
  std::vector<Opened> opened_;
};

// The first gains and all picks, on a matrix.
template <class T>
void run_on_matrix(Team& team, Greedy<T>& greedy, MatrixSource<T>& source, const T* d, int64_t n, int64_t budget,
                   GreedyResult& result) {
  std::vector<uint64_t> sums(n, 0);
  std::vector<const T*> rows(n);
  for (int64_t i = 0; i < n; ++i) rows[i] = d + i * n;
  team.run([&](int rank) {
    const Span own = greedy.span(team, rank);
    greedy.add_to_column_sums(sums.data(), rows.data(), n, own);
    greedy.set_gains(sums.data(), own);
    team.wait();
    greedy.run(team, rank, source, budget, result);
  });
}

}  // namespace acs_fast
