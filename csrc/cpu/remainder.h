// What a weighted sum of some samples' gradients leaves of a target, in float64.
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.h"
#include "distances.h"
#include "kernels.h"
#include "team.h"

namespace acs_fast {

// M = target - sum_a w_a g_a over a growing list of atoms, [C, D (+1)]; each entry is one chain over the atoms.
template <class T>
class Remainder {
 public:
  Remainder(Team& team, const Factors<T>& factors, const double* target);
  // Takes atoms number `atoms()`, ... of the list in; called within the team's `lead`, as `set_weights` is
  void extend(const std::vector<int64_t>& samples);
  int64_t atoms() const { return atoms_; }
  void set_weights(const std::vector<double>& weights);  // of the first atoms; the others have none
  const double* data() const { return m_.data(); }
  int64_t stride() const { return across_ * k_.nr; }

 private:
  Team& team_;
  const Factors<T> f_;
  const double* const target_;
  const Kernels<double>& k_;
  const int64_t width_, across_, down_;  // D (+1); micro-tiles across M and down
  int64_t atoms_ = 0, capacity_ = 0;     // capacity: in passes of atoms
  Buffer<double> features_;              // [across][capacity][nr]
  std::vector<double> residuals_;        // [passes of atoms, C]
  std::vector<double> left_;             // [down][passes of atoms][mr], -w r
  std::vector<double> m_;                // [down * mr, across * nr]
};

}  // namespace acs_fast
