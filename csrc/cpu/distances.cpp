#include "distances.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace acs_fast {
namespace {

constexpr int64_t kDepth = 128;  // of the products that stay in a register tile before they join the sum

template <class T>
bool equal_factors(const Factors<T>& f, int64_t i, const Factors<T>& g, int64_t j) {
  return std::memcmp(f.residual(i, 0), g.residual(j, 0), sizeof(T) * f.R * f.C) == 0 &&
         std::memcmp(f.feature(i, 0), g.feature(j, 0), sizeof(T) * f.R * f.D) == 0;
}

double dot_doubles(const double* x, const double* y, int64_t n) { return kernels<double>().dot(x, y, n); }

}  // namespace

// g_i - g_j = sum_a (r_i^a - r_j^a) (x) (h_i^a, [1]) + r_j^a (x) (h_i^a - h_j^a, [0])
template <class T>
double squared_norm_of_difference(const Factors<T>& f, int64_t i, const Factors<T>& g, int64_t j) {
  if (f.number(i) > g.number(j)) return squared_norm_of_difference(g, j, f, i);
  if (equal_factors(f, i, g, j)) return 0.0;
  const auto dot = kernels<T>().dot_differences;
  double sum = 0.0;
  for (int64_t a = 0; a < f.R; ++a)
    for (int64_t b = 0; b < f.R; ++b) {
      const T *ria = f.residual(i, a), *rja = g.residual(j, a), *hia = f.feature(i, a), *hja = g.feature(j, a);
      const T *rib = f.residual(i, b), *rjb = g.residual(j, b), *hib = f.feature(i, b), *hjb = g.feature(j, b);
      sum += dot(ria, rja, rib, rjb, f.C) * (dot(hia, nullptr, hib, nullptr, f.D) + double(f.bias));
      sum += 2.0 * dot(ria, rja, rjb, nullptr, f.C) * dot(hia, nullptr, hib, hjb, f.D);
      sum += dot(rja, nullptr, rjb, nullptr, f.C) * dot(hia, hja, hib, hjb, f.D);
    }
  return sum > 0.0 ? sum : 0.0;
}

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
      norms_(count_) {}

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
    for (int64_t ab = 0; ab < R_ * R_; ++ab) {
      u_[ab * count_ + at] = packed.u_[ab * packed.count_ + i];
      v_[ab * count_ + at] = packed.v_[ab * packed.count_ + i];
    }
  }
}

// u, v and the squared norm of one sample's moved gradient
template <class T>
void Panels<T>::describe(const Centred<T>& centred, int64_t at, const T* q, const T* p) {
  const auto& k = kernels<T>();
  const auto u = [&](int64_t a, int64_t b) { return k.dot(p + a * D_, centred.feature_mean(b), D_); };
  const auto v = [&](int64_t a, int64_t b) { return k.dot(q + a * C_, centred.residual_mean(b), C_); };
  const double bias = double(centred.factors().bias);
  double norm = 0.0;
  for (int64_t a = 0; a < R_; ++a)
    for (int64_t b = 0; b < R_; ++b) {
      const double uab = u(a, b), vab = v(a, b), uba = a == b ? uab : u(b, a), vba = a == b ? vab : v(b, a);
      const double mm = dot_doubles(centred.residual_mean(a), centred.residual_mean(b), C_);
      const double kk = dot_doubles(centred.feature_mean(a), centred.feature_mean(b), D_) + bias;
      const double qq = k.dot_differences(q + a * C_, nullptr, q + b * C_, nullptr, C_);
      const double pp = k.dot_differences(p + a * D_, nullptr, p + b * D_, nullptr, D_);
      norm += (qq + (vab + vba) + mm) * pp + qq * (uab + uba + kk) + (vab * uba + vba * uab);
      u_[(a * R_ + b) * count_ + at] = T(uab);
      v_[(a * R_ + b) * count_ + at] = T(vab);
    }
  norms_[at] = T(norm);
}

template <class T>
TileBuffers<T>::TileBuffers(const Factors<T>& f, int mr, int tile)
    : gram(size_t(tile) * tile),
      pp(size_t(tile) * tile),
      qq(size_t(tile) * tile),
      d(size_t(tile) * tile),
      rows(f, mr, tile) {
  if (f.R > 1) above = Buffer<T>(size_t(tile) * tile), below = Buffer<T>(size_t(tile) * tile);
}

template <class T>
Distances<T>::Distances(const Factors<T>& factors, bool squared)
    : f_(factors),
      k_(kernels<T>()),
      squared_(squared),
      threshold_(T(3) * std::sqrt(std::numeric_limits<T>::epsilon())),
      centred_(factors),
      packed_(factors, k_.nr, factors.n),
      mm_(factors.R * factors.R),
      kk_(factors.R * factors.R) {}

template <class T>
void Distances<T>::prepare(Team& team, int rank) {
  centred_.prepare(team, rank);
  team.wait();
  if (rank == 0) multiply_means();
  pack(team, rank);
}

template <class T>
void Distances<T>::prepare_columns(const double* means, Team& team, int rank) {
  if (rank == 0) {
    centred_.set_means(means);
    multiply_means();
  }
  team.wait();
  pack(team, rank);
}

template <class T>
void Distances<T>::pack(Team& team, int rank) {
  const Span own = team.part(rank, packed_.panels(f_.n), 1);
  packed_.pack(centred_, nullptr, f_.n, own.begin, own.end);
  team.wait();
}

template <class T>
void Distances<T>::reorder(const std::vector<int32_t>& order) {
  std::vector<int64_t> members(f_.n), numbers(f_.n);
  for (int64_t i = 0; i < f_.n; ++i) members[i] = f_.members[order[i]], numbers[i] = f_.number(order[i]);
  members_ = std::move(members), numbers_ = std::move(numbers);
  f_.members = members_.data(), f_.numbers = numbers_.data();
  centred_.set_factors(f_);
}

template <class T>
void Distances<T>::multiply_means() {
  for (int64_t a = 0; a < f_.R; ++a)
    for (int64_t b = 0; b < f_.R; ++b) {
      mm_[a * f_.R + b] = T(dot_doubles(centred_.residual_mean(a), centred_.residual_mean(b), f_.C));
      kk_[a * f_.R + b] = T(dot_doubles(centred_.feature_mean(a), centred_.feature_mean(b), f_.D) + f_.bias);
    }
}

template <class T>
TileSide<T> Distances<T>::open(Panels<T>& panels, const int32_t* samples, int64_t first, int64_t count) const {
  panels.repack(centred_, packed_, samples, first, count);
  return {f_, panels, count, samples, first};
}

template <class T>
TileSide<T> Distances<T>::open_tile(TileBuffers<T>& buffers, int64_t index) const {
  const int64_t first = index * k_.tile, count = std::min<int64_t>(k_.tile, f_.n - first);
  if (buffers.open != index) open(buffers.rows, nullptr, first, count);
  buffers.open = index;
  return {f_, buffers.rows, count, nullptr, first};
}

// into (+)= the part of passes a and b in the inner products of the moved gradients
template <class T>
void Distances<T>::products(const TileSide<T>& rows, const TileSide<T>& columns, int64_t j0, int64_t count, int64_t a,
                            int64_t b, TileBuffers<T>& buffers, T* into, bool accumulate) const {
  const int64_t mr = k_.mr, nr = k_.nr, stride = k_.tile;
  const int64_t down = (rows.count + mr - 1) / mr, across = (count + nr - 1) / nr;
  int64_t depth = 0;
  do {  // once even when D = 0, which clears the sums
    const int64_t size = std::min(kDepth, f_.D - depth);
    for (int64_t j = 0; j < across; ++j) {
      const T* right = columns.panels.p(j0 / nr + j, b) + depth * nr;
      for (int64_t i = 0; i < down; ++i)
        k_.multiply(rows.panels.p(i, a) + depth * mr, right, size, std::min(mr, rows.count - i * mr),
                    buffers.pp.data() + i * mr * stride + j * nr, stride, depth > 0);
    }
    depth += kDepth;
  } while (depth < f_.D);
  const T mm = mm_[a * f_.R + b], kk = kk_[a * f_.R + b];
  for (int64_t j = 0; j < across; ++j)
    for (int64_t i = 0; i < down; ++i) {
      const T *left = rows.panels.q(i, a), *right = columns.panels.q(j0 / nr + j, b);
      const int64_t height = std::min(mr, rows.count - i * mr);
      for (int64_t c = 0; c == 0 || c < f_.C; c += kDepth)
        k_.multiply(left + c * mr, right + c * nr, std::min(kDepth, f_.C - c), height, buffers.qq.data(), nr, c > 0);
      const int64_t at = i * mr * stride + j * nr;
      k_.combine(buffers.qq.data(), buffers.pp.data() + at, rows.panels.cross(a, b, i * mr),
                 columns.panels.cross(b, a, j0 + j * nr), mm, kk, height, into + at, stride, accumulate);
    }
}

template <class T>
T Distances<T>::tile(const TileSide<T>& rows, const TileSide<T>& columns, int64_t j0, int64_t j1,
                     TileBuffers<T>& buffers, T* out, int64_t stride) const {
  if (f_.R == 0) std::fill_n(buffers.gram.data(), k_.tile * k_.tile, T(0));  // no pass, no product
  for (int64_t a = 0; a < f_.R; ++a) products(rows, columns, j0, j1 - j0, a, a, buffers, buffers.gram.data(), a > 0);
  // pairs of passes in an order that makes the sum the same for (i, j) and (j, i)
  bool first = true;
  for (int64_t a = 0; a < f_.R; ++a)
    for (int64_t b = a + 1; b < f_.R; ++b, first = false) {
      products(rows, columns, j0, j1 - j0, a, b, buffers, buffers.above.data(), !first);
      products(rows, columns, j0, j1 - j0, b, a, buffers, buffers.below.data(), !first);
    }
  if (!first)
    for (int64_t i = 0; i < rows.count; ++i)
      for (int64_t j = i * k_.tile; j < i * k_.tile + j1 - j0; ++j)
        buffers.gram[j] += buffers.above[j] + buffers.below[j];
  return epilogue(rows, columns, j0, j1, buffers, out, stride);
}

// d^2 = n_i + n_j - 2 <g_i, g_j> has lost its digits where the gradients nearly agree: those pairs are measured again
template <class T>
T Distances<T>::epilogue(const TileSide<T>& rows, const TileSide<T>& columns, int64_t j0, int64_t j1,
                         const TileBuffers<T>& buffers, T* out, int64_t stride) const {
  const T *own = rows.panels.norms(), *norms = columns.panels.norms();
  T largest = T(0);
  for (int64_t row = 0; row < rows.count; ++row, out += stride) {
    const int64_t i = rows.sample(row);
    const T* gram = buffers.gram.data() + row * k_.tile;
    RowSummary<T> summary = k_.distance_row(gram, own[row], norms + j0, j1 - j0, threshold_, squared_, out);
    if (summary.close) {
      summary.largest = T(0);
      for (int64_t j = j0; j < j1; ++j) {
        const T scale = own[row] + norms[j];
        if (scale - T(2) * gram[j - j0] <= threshold_ * scale) {
          const int64_t other = columns.sample(j);
          const bool same = rows.factors.number(i) == columns.factors.number(other) || scale == T(0);
          const T exact = same ? T(0) : T(squared_norm_of_difference(rows.factors, i, columns.factors, other));
          out[j - j0] = squared_ ? exact : std::sqrt(exact);
        }
        summary.largest = std::max(summary.largest, out[j - j0]);
      }
    }
    largest = std::max(largest, summary.largest);
  }
  return largest;
}

template <class T>
T Distances<T>::matrix(std::atomic<int64_t>& next, T* out) const {
  TileBuffers<T> buffers = this->buffers();
  const int64_t n = f_.n;
  T top = T(0);
  const auto write = [&](int64_t i0, int64_t i1, int64_t j0, int64_t j1, const T* d, int64_t stride, T largest) {
    top = std::max(top, largest);
    for (int64_t i = i0; i < i1; ++i) std::memcpy(out + i * n + j0, d + (i - i0) * stride, sizeof(T) * (j1 - j0));
    if (i0 != j0) k_.transpose(d, stride, i1 - i0, j1 - j0, out + j0 * n + i0, n);
  };
  upper_tiles(next, buffers, write);
  return top;
}

#define ACS_INSTANTIATE(T)                                                                            \
  template double squared_norm_of_difference(const Factors<T>&, int64_t, const Factors<T>&, int64_t); \
  template class Centred<T>;                                                                          \
  template class Panels<T>;                                                                           \
  template struct TileBuffers<T>;                                                                     \
  template class Distances<T>;
ACS_INSTANTIATE(float)
ACS_INSTANTIATE(double)

}  // namespace acs_fast
