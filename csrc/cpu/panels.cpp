#include "panels.h"

#include <cmath>
#include <limits>

namespace acs_fast {

constexpr double kLost = 256.0;  // roundings of the terms of a squared distance that leave it some digits

template <class T>
Centred<T>::Centred(const Factors<T>& f) : f_(f), means_(f.R * (f.C + f.D), 0.0) {}

template <class T>
void Centred<T>::prepare(const Team& team, int rank) {
  const int64_t c_all = f_.R * f_.C, d_all = f_.R * f_.D;
  const Span own = team.part(rank, c_all + d_all, 16);
  const auto add = [&](const T* row, int64_t begin, int64_t end, double* sums) {
    for (int64_t d = begin; d < end; ++d) sums[d] += double(row[d]);
  };
  std::vector<double> sums(c_all + d_all, 0.0);
  for (int64_t i = 0; i < f_.n; ++i) {
    add(f_.residual(i, 0), own.begin, std::min(own.end, c_all), sums.data());
    add(f_.feature(i, 0), std::max<int64_t>(own.begin - c_all, 0), own.end - c_all, sums.data() + c_all);
  }
  for (int64_t s = own.begin; s < own.end; ++s) {
    const bool residual = s < c_all;
    const int64_t width = residual ? f_.C : f_.D, at = residual ? s : s - c_all;
    means_[at / width * (f_.C + f_.D) + at % width + (residual ? 0 : f_.C)] = double(T(sums[s] / double(f_.n)));
  }
}

template <class T>
void Centred<T>::deviations(int64_t i, int64_t pass, T* q, T* p) const {
  const T *r = f_.residual(i, pass), *h = f_.feature(i, pass);
  const double *m = residual_mean(pass), *k = feature_mean(pass);
  for (int64_t c = 0; c < f_.C; ++c) q[c] = r[c] - T(m[c]);
  for (int64_t d = 0; d < f_.D; ++d) p[d] = h[d] - T(k[d]);
}

template <class T>
Panels<T>::Panels(const Factors<T>& f, int width, int64_t count)
    : width_(width),
      R_(f.R),
      C_(f.C),
      D_(f.D),
      count_(panels(count) * width),
      data_(count_ * f.R * (f.C + f.D)),
      u_(count_ * f.R * f.R),
      v_(count_ * f.R * f.R),
      norms_(count_),
      limits_(count_) {}

// One sample, [R, C] and [R, D], into its lane
template <class T>
void Panels<T>::place(int64_t at, const T* q, const T* p) {
  for (int64_t a = 0; a < R_; ++a) {
    T* out = data_.data() + (at / width_ * R_ + a) * (C_ + D_) * width_ + at % width_;
    for (int64_t c = 0; c < C_; ++c) out[c * width_] = q[a * C_ + c];
    for (int64_t d = 0; d < D_; ++d) out[(C_ + d) * width_] = p[a * D_ + d];
  }
}

template <class T>
void Panels<T>::pack(const Centred<T>& centred, const int32_t* samples, int64_t count, int64_t begin, int64_t end) {
  std::vector<T> sample(R_ * (C_ + D_));
  T *q = sample.data(), *p = q + R_ * C_;
  for (int64_t at = begin * width_; at < end * width_; ++at) {
    if (at < count)
      for (int64_t a = 0; a < R_; ++a) centred.deviations(samples ? samples[at] : at, a, q + a * C_, p + a * D_);
    else
      std::fill(sample.begin(), sample.end(), T(0));
    place(at, q, p);
    describe(centred, at, q, p);
  }
}

template <class T>
void Panels<T>::repack(const Centred<T>& centred, const Panels& packed, const int32_t* samples, int64_t first,
                       int64_t count) {
  scratch_.resize(R_ * (C_ + D_));
  T *q = scratch_.data(), *p = q + R_ * C_;
  for (int64_t at = 0; at < panels(count) * width_; ++at) {
    if (at >= count) {
      std::fill(scratch_.begin(), scratch_.end(), T(0));
      place(at, q, p);
      continue;
    }
    const int64_t i = samples ? samples[at] : first + at;
    for (int64_t a = 0; a < R_; ++a) centred.deviations(i, a, q + a * C_, p + a * D_);
    place(at, q, p);
    norms_[at] = packed.norms_[i];
    limits_[at] = packed.limits_[i];
    for (int64_t ab = 0; ab < R_ * R_; ++ab) {
      u_[ab * count_ + at] = packed.u_[ab * packed.count_ + i];
      v_[ab * count_ + at] = packed.v_[ab * packed.count_ + i];
    }
  }
}

// u, v, the squared norm of one sample's moved gradient, and its limit: a part of that norm or, where terms cancel in it,
// of these
template <class T>
void Panels<T>::describe(const Centred<T>& centred, int64_t at, const T* q, const T* p) {
  const auto& k = kernels<T>();
  const auto dot_means = kernels<double>().dot;
  const auto u = [&](int64_t a, int64_t b) { return k.dot(p + a * D_, centred.feature_mean(b), D_); };
  const auto v = [&](int64_t a, int64_t b) { return k.dot(q + a * C_, centred.residual_mean(b), C_); };
  const double bias = double(centred.factors().bias);
  constexpr double epsilon = double(std::numeric_limits<T>::epsilon());
  double norm = 0.0, reach = 0.0;
  for (int64_t a = 0; a < R_; ++a)
    for (int64_t b = 0; b < R_; ++b) {
      const double uab = u(a, b), vab = v(a, b), uba = a == b ? uab : u(b, a), vba = a == b ? vab : v(b, a);
      const double mm = dot_means(centred.residual_mean(a), centred.residual_mean(b), C_);
      const double kk = dot_means(centred.feature_mean(a), centred.feature_mean(b), D_) + bias;
      const double qq = k.dot_differences(q + a * C_, nullptr, q + b * C_, nullptr, C_);
      const double pp = k.dot_differences(p + a * D_, nullptr, p + b * D_, nullptr, D_);
      if (a == b) reach += (std::sqrt(qq) + std::sqrt(mm)) * (std::sqrt(pp) + std::sqrt(kk));
      norm += (qq + (vab + vba) + mm) * pp + qq * (uab + uba + kk) + (vab * uba + vba * uab);
      u_[(a * R_ + b) * count_ + at] = T(uab);
      v_[(a * R_ + b) * count_ + at] = T(vab);
    }
  norms_[at] = T(norm);
  limits_[at] = T(std::max(3.0 * std::sqrt(epsilon) * norm, kLost * epsilon * reach * reach));
}

template class Centred<float>;
template class Centred<double>;
template class Panels<float>;
template class Panels<double>;

}  // namespace acs_fast
