// Factored gradients, moved towards zero and laid out as the micro-kernels read them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "buffer.h"
#include "kernels.h"
#include "team.h"

namespace acs_fast {

// n samples, `members` of those in contiguous residuals [., R, C] and features [., R, D]; R head passes.
template <class T>
struct Factors {
  const T* residuals;
  const T* features;
  const int64_t* members;  // [n]
  int64_t n, R, C, D;
  bool bias;
  const int64_t* numbers = nullptr;  // [n] that decide which of a pair comes first; null for the positions

  int64_t number(int64_t i) const { return numbers ? numbers[i] : i; }
  const T* residual(int64_t i, int64_t pass) const { return residuals + (members[i] * R + pass) * C; }
  const T* feature(int64_t i, int64_t pass) const { return features + (members[i] * R + pass) * D; }
};

// The factors as deviations from their means in every pass: r = m + q, h = k + p. All gradients are moved by the same
// sum_a m^a (x) k^a, which changes no distance, and the expansion n_i + n_j - 2 <g_i, g_j> then loses digits only where
// two gradients agree to within their spread.
template <class T>
class Centred {
 public:
  explicit Centred(const Factors<T>& f);
  // A member's share of the means; all shares must be there before anything else is asked for
  void prepare(const Team& team, int rank);
  void set_means(const double* means) { std::copy_n(means, means_.size(), means_.begin()); }  // [R, C + D]
  void set_factors(const Factors<T>& f) { f_ = f; }  // the same samples in another order
  void deviations(int64_t i, int64_t pass, T* q, T* p) const;
  const Factors<T>& factors() const { return f_; }
  const double* residual_mean(int64_t pass) const { return means_.data() + pass * (f_.C + f_.D); }
  const double* feature_mean(int64_t pass) const { return residual_mean(pass) + f_.C; }
  const double* means() const { return means_.data(); }

 private:
  Factors<T> f_;
  std::vector<double> means_;  // [R, C + D], rounded to T
};

// Samples in panels of `width`, each [R][C + D][width], zeros behind the last sample: what a micro-kernel reads. With
// them, per sample, the inner products with the means: u, v [R, R][panels * width], the squared norms, and limits: squared
// distances up to the sum of two of them have lost their digits.
template <class T>
class Panels {
 public:
  Panels(const Factors<T>& f, int width, int64_t count);
  // Packs panels [begin, end) of `count` samples, of which number s is samples[s], or s where samples is null
  void pack(const Centred<T>& centred, const int32_t* samples, int64_t count, int64_t begin, int64_t end);
  // Packs samples [first, first + count) or those given, which `packed` has described already
  void repack(const Centred<T>& centred, const Panels& packed, const int32_t* samples, int64_t first, int64_t count);
  int64_t panels(int64_t count) const { return (count + width_ - 1) / width_; }
  const T* q(int64_t panel, int64_t pass) const { return data_.data() + (panel * R_ + pass) * (C_ + D_) * width_; }
  const T* p(int64_t panel, int64_t pass) const { return q(panel, pass) + C_ * width_; }
  // Of pass a with the means of pass b, from sample `first` on
  Cross<T> cross(int64_t a, int64_t b, int64_t first) const {
    return {u_.data() + (a * R_ + b) * count_ + first, v_.data() + (a * R_ + b) * count_ + first};
  }
  const T* norms() const { return norms_.data(); }
  const T* limits() const { return limits_.data(); }

 private:
  void place(int64_t at, const T* q, const T* p);
  void describe(const Centred<T>& centred, int64_t at, const T* q, const T* p);

  int width_;
  int64_t R_, C_, D_, count_;
  Buffer<T> data_;
  std::vector<T> u_, v_, norms_, limits_, scratch_;
};

}  // namespace acs_fast
