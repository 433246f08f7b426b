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
//   int64_t rows_at_once(), columns_at_once()            the block that `rows` serves
//   const T* column(int64_t j, Team&)                    what every sample pays for j, [n]; called by the leader
//   void open(const int32_t* i, int64_t count)           the rows that are asked for next; called by the leader
//   void rows(Span columns, int rank, const T** out)     out[r][j] is the distance d(i_r, j) for j in `columns`
template <class T>
class Greedy {
 public:
  Greedy(int64_t n, double d_max) : n_(n), d_max_(T(d_max)), quantiser_(d_max, n), k_(kernels<T>()), gain_(n, 0) {}

  // The gains before the first pick are n q_max less the sums of the quantised columns, which come in by blocks of rows
  void add_to_column_sums(uint64_t* sums, const T* const* rows, int64_t count, Span columns) const {
    T low[kRowsAtOnce] = {}, high[kRowsAtOnce];
    std::fill_n(high, kRowsAtOnce, d_max_);
    for (int64_t r = 0; r < count; r += kRowsAtOnce)
      k_.clamp_sum(sums, rows + r, low, high, int(std::min<int64_t>(kRowsAtOnce, count - r)), columns.begin,
                   columns.end, quantiser_.scale, 0);
  }
  void set_gains(const uint64_t* sums, Span columns) {
    const uint64_t all = uint64_t(n_) * (uint64_t(quantiser_(d_max_)) + kRoundingMagicBits);
    for (int64_t j = columns.begin; j < columns.end; ++j) gain_[j] = int64_t(all - sums[j]);
  }

  // All picks, once the gains are set; called by the leader of the team
  template <class Source>
  void run(Team& team, Source& source, int64_t budget, GreedyResult& result) {
    const int64_t part = source.columns_at_once(), parts = (n_ + part - 1) / part;
    std::vector<T> current(n_, d_max_);
    std::vector<int32_t> touched(n_ + 2 * kSpanStep);
    std::vector<std::vector<const T*>> rows(team.size(), std::vector<const T*>(std::min(n_, source.rows_at_once())));
    best_.resize(parts);
    const auto columns_of = [&](int64_t p) { return Span{p * part, std::min(n_, (p + 1) * part)}; };
    const auto find_best = [&](int64_t p) {
      best_[p] = k_.argmax(gain_.data(), columns_of(p).begin, columns_of(p).end);
    };
    team.share(parts, [&](int64_t p, int) { find_best(p); });
    for (int64_t step = 0; step < budget; ++step) {
      int64_t pick = best_[0];
      for (const int64_t j : best_) pick = gain_[j] > gain_[pick] ? j : pick;  // in order: the lowest index first
      const T* column = source.column(pick, team);
      const int64_t count = find_touched(column, current.data(), touched.data());
      result.indices[step] = pick;
      result.gains[step] = double(gain_[pick]) * quantiser_.unit;
      --gain_[pick];  // from which its gain is now taken: -1 stays, below all others
      for (int64_t first = 0; first < count; first += source.rows_at_once()) {
        const int64_t size = std::min(count - first, source.rows_at_once());
        source.open(touched.data() + first, size);
        team.share(parts, [&](int64_t p, int rank) {
          const Span columns = columns_of(p);
          source.rows(columns, rank, rows[rank].data());
          lower(rows[rank].data(), touched.data() + first, size, column, current.data(), columns);
          find_best(p);
        });
      }
      if (count == 0) find_best(pick / part);
      for (int64_t t = 0; t < count; ++t) {
        result.assignment[touched[t]] = step;
        current[touched[t]] = column[touched[t]];
      }
    }
    int64_t sum = 0;
    for (const T level : current) sum += quantiser_(level);
    result.objective = double(sum) * quantiser_.unit;
  }

 private:
  // The samples that pay less at the newest pick, as integers
  int64_t find_touched(const T* column, const T* current, int32_t* touched) const {
    const int64_t count = k_.find_lower(column, current, n_, touched);
    const auto same = [&](int32_t i) { return quantiser_(column[i]) >= quantiser_(current[i]); };
    return std::remove_if(touched, touched + count, same) - touched;
  }

  void lower(const T* const* rows, const int32_t* touched, int64_t count, const T* column, const T* current,
             Span columns) {
    auto* gain = reinterpret_cast<uint64_t*>(gain_.data());
    for (int64_t first = 0; first < count; first += kRowsAtOnce) {
      const int64_t size = std::min<int64_t>(kRowsAtOnce, count - first);
      T low[kRowsAtOnce], high[kRowsAtOnce];
      uint64_t offset = 0;
      for (int64_t r = 0; r < size; ++r) {
        low[r] = column[touched[first + r]];
        high[r] = current[touched[first + r]];
        offset -= kRoundingMagicBits + uint64_t(quantiser_(high[r]));
      }
      k_.clamp_sum(gain, rows + first, low, high, int(size), columns.begin, columns.end, quantiser_.scale, offset);
    }
  }

  const int64_t n_;
  const T d_max_;
  const Quantiser quantiser_;
  const Kernels<T>& k_;
  std::vector<int64_t> gain_;
  std::vector<int64_t> best_;  // the best candidate of each part of the columns
};

// Distances from a matrix in memory.
template <class T>
class MatrixSource {
 public:
  // transposed: the matrix whose rows are the columns of d, which a symmetric d itself is, or null
  MatrixSource(const T* d, int64_t n, const T* transposed, const Team& team)
      : d_(d), n_(n), transposed_(transposed), part_(part_of(n, team.size())), column_(transposed ? 0 : n) {}

  int64_t rows_at_once() const { return n_; }
  int64_t columns_at_once() const { return part_; }
  const T* column(int64_t j, Team& team) {
    if (transposed_) return transposed_ + j * n_;
    team.share((n_ + part_ - 1) / part_, [&](int64_t p, int) {
      for (int64_t i = p * part_; i < std::min(n_, (p + 1) * part_); ++i) column_[i] = d_[i * n_ + j];
    });
    return column_.data();
  }
  void open(const int32_t* i, int64_t count) { opened_ = {i, i + count}; }
  void rows(Span, int, const T** out) {
    for (const int32_t* i = opened_.begin; i < opened_.end; ++i) *out++ = d_ + *i * n_;
  }

 private:
  struct Opened {
    const int32_t *begin, *end;
  };
  // Some parts for each thread, but none so small that sharing it costs more than it saves
  static int64_t part_of(int64_t n, int threads) {
    const int64_t steps = (n + kSpanStep - 1) / kSpanStep;
    return threads == 1 ? n : std::max<int64_t>(8, (steps + 4 * threads - 1) / (4 * threads)) * kSpanStep;
  }

  const T* d_;
  const int64_t n_;
  const T* const transposed_;
  const int64_t part_;
  std::vector<T> column_;
  Opened opened_{};
};

// The first gains and all picks, on a matrix.
template <class T>
void run_on_matrix(Team& team, Greedy<T>& greedy, MatrixSource<T>& source, const T* d, int64_t n, int64_t budget,
                   GreedyResult& result) {
  std::vector<uint64_t> sums(n, 0);
  std::vector<const T*> rows(n);
  for (int64_t i = 0; i < n; ++i) rows[i] = d + i * n;
  team.lead([&] {
    const int64_t part = source.columns_at_once();
    team.share((n + part - 1) / part, [&](int64_t p, int) {
      const Span columns{p * part, std::min(n, (p + 1) * part)};
      greedy.add_to_column_sums(sums.data(), rows.data(), n, columns);
      greedy.set_gains(sums.data(), columns);
    });
    greedy.run(team, source, budget, result);
  });
}

}  // namespace acs_fast
