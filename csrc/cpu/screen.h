// Which few samples may have the largest inner product with a matrix: all of them in the samples' own precision, with bounds.
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.h"
#include "distances.h"
#include "kernels.h"
#include "team.h"

namespace acs_fast {

// Estimates <g_i, M>, by blocked products either with M itself or with the samples that M is a weighted sum of. Factors
// and M are scaled by powers of two, so that nothing overflows and the bound on an estimate's error is relative to
// |r_i| |h_i| |M|, or to the sum of |r_i| |h_i| w |r_p| |h_p|, however small M has become.
template <class T>
class Screen {
 public:
  struct Unit {
    double scale;  // of a sample, in units of which its factors are packed
    double reach;  // sum_a |r^a| |h^a| in these units
  };
  // A Gram column: inner products of a sample with those of `own`, in units of both
  struct Column {
    Buffer<T> products;
    Unit unit;
  };

  // Samples `own` of `factors`; `pack` must follow for all of them
  Screen(const Factors<T>& factors, Span own);
  void pack(Span samples);  // begins at a multiple of 64 from the first one, as all spans below

  // M [C, D (+1)] with a row stride
  void open(const double* m, int64_t stride);
  // Of the samples: estimates of <g_i, M>, and bounds on how far an estimate and the same product in float64 are apart
  void estimate(Span samples, double* estimates, double* bounds) const;

  // At most `together()` samples whose columns are wanted
  int64_t together() const { return k_.mr; }
  std::vector<Column> open_columns(const std::vector<int64_t>& samples);
  void fill_columns(Span samples, std::vector<Column>& columns) const;
  // M = target - sum_p weights[p] g_p, by the columns of the samples p
  void open(const std::vector<const Column*>& columns, const std::vector<double>& weights);
  // As above, of which <g_i, target> are there
  void estimate(Span samples, const double* to_target, double* estimates, double* bounds) const;
  // The bound that these have for a sample, by the columns opened last; any sample, not only one of `own`
  double blur(int64_t sample) const;

 private:
  int64_t pass_size() const { return f_.C + width_; }
  int64_t panel_of(int64_t sample) const { return (sample - own_.begin) / k_.nr; }
  T* panel(int64_t index, int64_t pass) const { return panels_.data() + (index * f_.R + pass) * pass_size() * k_.nr; }
  Unit pack(int64_t sample, T* out) const;
  double columns_error() const;  // relative, of a sum of columns
  double in_double() const;      // the part of it that float64 has
  void multiply(const T* left, const T* right, int64_t rows, T* out) const;

  const Factors<T> f_;
  const Kernels<T>& k_;
  const Span own_;
  const int64_t width_;        // D (+1)
  const double error_, lost_;  // of a product with M or another sample: relative, and by underflow
  Buffer<T> panels_;           // [samples / nr][R][C + D (+1)][nr]
  std::vector<Unit> units_;    // of each sample
  std::vector<T> m_;           // [C / mr][D (+1)][mr]
  std::vector<T> wanted_;      // [R][C + D (+1)][mr], of the samples whose columns are wanted
  double m_scale_ = 0.0, m_norm_ = 0.0;
  std::vector<const T*> products_;  // the columns of M,
  std::vector<T> weights_;          // with their weights in units of weight_scale_,
  double weight_scale_ = 0.0, columns_reach_ = 0.0;  // and the sum of weights times reaches in these units
};

}  // namespace acs_fast
