#include "remainder.h"

#include <algorithm>

namespace acs_fast {

template <class T>
Remainder<T>::Remainder(Team& team, const Factors<T>& factors, const double* target)
    : team_(team),
      f_(factors),
      target_(target),
      k_(kernels<double>()),
      width_(f_.D + f_.bias),
      across_((width_ + k_.nr - 1) / k_.nr),
      down_((f_.C + k_.mr - 1) / k_.mr),
      m_(down_ * k_.mr * across_ * k_.nr) {}

template <class T>
void Remainder<T>::extend(const std::vector<int64_t>& samples) {
  const int64_t begin = atoms_ * f_.R, end = int64_t(samples.size()) * f_.R, nr = k_.nr;
  if (end > capacity_) {
    const int64_t before = capacity_;
    const Buffer<double> old = std::move(features_);
    capacity_ = std::max(end, 2 * before);
    features_ = Buffer<double>(size_t(capacity_) * across_ * nr);
    for (int64_t j = 0; j < across_; ++j)
      std::copy_n(old.data() + j * before * nr, begin * nr, features_.data() + j * capacity_ * nr);
  }
  for (int64_t row = begin; row < end; ++row) {
    const T *r = f_.residual(samples[row / f_.R], row % f_.R), *h = f_.feature(samples[row / f_.R], row % f_.R);
    residuals_.insert(residuals_.end(), r, r + f_.C);
    for (int64_t d = 0; d < across_ * nr; ++d)
      features_[(d / nr * capacity_ + row) * nr + d % nr] = d < f_.D ? double(h[d]) : double(d < width_);
  }
  atoms_ = int64_t(samples.size());
}

template <class T>
void Remainder<T>::set_weights(const std::vector<double>& weights) {
  const int64_t rows = atoms_ * f_.R, mr = k_.mr, nr = k_.nr;
  left_.assign(down_ * rows * mr, 0.0);
  for (int64_t row = 0; row < rows; ++row) {
    const double weight = row / f_.R < int64_t(weights.size()) ? weights[row / f_.R] : 0.0;
    for (int64_t c = 0; c < f_.C; ++c) left_[(c / mr * rows + row) * mr + c % mr] = -weight * residuals_[row * f_.C + c];
  }
  for (int64_t c = 0; c < f_.C; ++c) std::copy_n(target_ + c * width_, width_, m_.data() + c * stride());
  team_.share(across_, [&](int64_t j, int) {
    for (int64_t i = 0; i < down_; ++i)
      k_.multiply(left_.data() + i * rows * mr, features_.data() + j * capacity_ * nr, rows, std::min(mr, f_.C - i * mr),
                  m_.data() + i * mr * stride() + j * nr, stride(), true);
  });
}

template class Remainder<float>;
template class Remainder<double>;

}  // namespace acs_fast
