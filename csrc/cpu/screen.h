// Which few samples may have the largest inner product with a matrix: all of them in the samples' own precision, with bounds.
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.h"
#include "distances.h"
#include "kernels.h"
#include "team.h"

namespace acs_fast {

// Estimates <g_i, M> = sum_a r_i^a' M (h_i^a, [1]) by blocked products. Factors and M are scaled by powers of two, so that
// nothing overflows and the bound on an estimate's error is relative to |r_i| |h_i| |M|, however small M has become.
template <class T>
class Screen {
 public:
  // Samples `own` of `factors`; `pack` must follow for all of them
  Screen(const Factors<T>& factors, Span own);
  void pack(Span samples);  // begins at a multiple of 64 from the first one
  // M [C, D (+1)] with a row stride
  void open(const double* m, int64_t stride);
  // Of the samples, which begin at a multiple of 64 from the first: estimates, and bounds on how far an estimate and the
  // same product in float64 are apart
  void estimate(Span samples, double* estimates, double* bounds) const;

 private:
  int64_t panel_of(int64_t sample) const { return (sample - own_.begin) / k_.nr; }
  T* panel(int64_t index, int64_t pass) const { return panels_.data() + (index * f_.R + pass) * (f_.C + width_) * k_.nr; }

  const Factors<T> f_;
  const Kernels<T>& k_;
  const Span own_;
  const int64_t width_;        // D (+1)
  const double error_, lost_;  // of an estimate: relative, and by underflow
  Buffer<T> panels_;           // [samples / nr][R][C + D (+1)][nr]
  std::vector<double> scale_;  // of each sample, in units of which its factors are packed
  std::vector<double> reach_;  // sum_a |r_i^a| |h_i^a| in these units
  std::vector<T> m_;           // [C / mr][D (+1)][mr]
  double m_scale_ = 0.0, m_norm_ = 0.0;
};

}  // namespace acs_fast
