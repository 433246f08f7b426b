#include "settled_factor.h"

#include <algorithm>
#include <cmath>

namespace acs_fast {
namespace {

constexpr int64_t kBlock = 64;       // rows of U that a substitution takes together
constexpr int64_t kAlone = 2048;     // columns behind a block that are not worth a meeting
constexpr int64_t kColumns = 256;    // columns of them that one member takes at a time
constexpr int64_t kRowsShared = 16;  // rows of them that one member takes at a time

}  // namespace

void SettledFactor::grow(int64_t rows, int64_t width) {
  const int64_t m = settled(), rows_before = rows_, width_before = width_;
  const Buffer<double> u_before = std::move(u_), v_before = std::move(v_);
  rows_ = rows;
  width_ = width;
  u_ = Buffer<double>(rows * (rows + 1) / 2);
  v_ = Buffer<double>(rows * width);
  for (int64_t i = 0; i < m; ++i) {
    const double* from = u_before.data() + i * rows_before - i * (i + 1) / 2;
    std::copy(from + i, from + m, u(i) + i);
    std::copy_n(v_before.data() + i * width_before, open_, v(i));
  }
}

void SettledFactor::add(const std::vector<double>& column) {
  if (open_ == width_) grow(rows_, std::max<int64_t>(64, 2 * width_));
  for (int64_t i = 0; i < int64_t(column.size()); ++i) v(i)[open_] = column[i];
  ++open_;
}

void SettledFactor::settle(int64_t at, const std::vector<double>& row, double y) {
  const int64_t m = settled();
  if (m == rows_) grow(std::max<int64_t>(64, rows_ + rows_ / 2), width_);
  std::copy(row.begin(), row.end(), v(m));
  --open_;
  for (int64_t i = 0; i <= m; ++i) {
    u(i)[m] = v(i)[at];
    v(i)[at] = v(i)[open_];
  }
  y_.push_back(y);
}

// Without its column the rows of U from `position` on begin one entry too far left; rotations of neighbours straighten
// them, and turn what was solved with U before.
SettledFactor::Lost SettledFactor::unsettle(int64_t position) {
  const int64_t m = settled();
  std::vector<double> column(m);
  for (int64_t i = 0; i <= position; ++i) column[i] = u(i)[position];
  for (int64_t i = 0; i < position; ++i) std::copy(u(i) + position + 1, u(i) + m, u(i) + position);
  std::vector<double> carried(u(position) + position + 1, u(position) + m), lost(v(position), v(position) + open_);
  std::vector<Rotation> rotations;
  for (int64_t i = position; i + 1 < m; ++i) {
    double* above = carried.data() + (i - position);
    const double* below = u(i + 1) + i + 1;
    const double length = std::hypot(above[0], below[0]), c = above[0] / length, s = below[0] / length;
    extra_.rotate(c, s, above, below, u(i) + i, m - 1 - i);
    extra_.rotate(c, s, lost.data(), v(i + 1), v(i), open_);
    rotations.push_back({c, s});
  }
  const double y = turn(y_, position, rotations);
  lost.push_back(turn(column, position, rotations));
  add(column);
  return {std::move(lost), y};
}

// What was solved with U before its rows from `position` on were rotated, with it as it is now; returns what is left over
double SettledFactor::turn(std::vector<double>& x, int64_t position, const std::vector<Rotation>& rotations) {
  double* own = x.data() + position;
  double carried = own[0];
  for (size_t i = 0; i < rotations.size(); ++i) {
    const auto [c, s] = rotations[i];
    const double below = own[i + 1];
    own[i] = c * carried + s * below;
    carried = c * below - s * carried;
  }
  x.pop_back();
  return carried;
}

void SettledFactor::subtract_products(double* out, const double* x) const {
  std::vector<const double*> rows;
  for (int64_t i = 0; i < settled(); ++i) rows.push_back(v(i));
  extra_.subtract(out, rows.data(), x, settled(), 0, open_);
}

// Both substitutions go by blocks of kBlock rows: the triangle of a block by the leader, the rest of its rows by the team.
// The blocks, and with them every sum, are the same for every number of threads.
void SettledFactor::forward(double* x) const {
  constexpr int64_t kRows = 8;  // subtracted in one pass
  const int64_t m = settled();
  for (int64_t block = 0; block < m; block += kBlock) {
    const int64_t stop = std::min(m, block + kBlock);
    const double* rows[kBlock];
    for (int64_t i = block; i < stop; ++i) rows[i - block] = u(i);
    for (int64_t begin = block; begin < stop; begin += kRows) {
      const int64_t end = std::min(stop, begin + kRows);
      for (int64_t i = begin; i < end; ++i) {
        x[i] /= u(i)[i];
        for (int64_t j = i + 1; j < end; ++j) x[j] -= u(i)[j] * x[i];
      }
      extra_.subtract(x, rows + (begin - block), x + begin, end - begin, end, stop);
    }
    const int64_t share = m - stop > kAlone ? kColumns : std::max<int64_t>(1, m - stop);
    team_.share((m - stop + share - 1) / share, [&](int64_t part, int) {
      extra_.subtract(x, rows, x + block, stop - block, stop + part * share, std::min(m, stop + (part + 1) * share));
    });
  }
}

int64_t SettledFactor::backward(std::vector<double>& z, const std::vector<double>& w, bool while_positive) const {
  const int64_t m = settled();
  double known[kBlock];  // the products of a block's rows with what lies behind it
  for (int64_t block = (m - 1) / kBlock * kBlock; block >= 0; block -= kBlock) {
    const int64_t stop = std::min(m, block + kBlock);
    const int64_t share = m - stop > kAlone ? kRowsShared : kBlock;
    team_.share((stop - block + share - 1) / share, [&](int64_t part, int) {
      const int64_t begin = block + part * share;
      for (int64_t i = begin; i < std::min(stop, begin + share); ++i)
        known[i - block] = dot_(u(i) + stop, z.data() + stop, m - stop) + dot_(v(i), w.data(), open_);
    });
    for (int64_t i = stop - 1; i >= block; --i)
      z[i] = (z[i] - known[i - block] - dot_(u(i) + i + 1, z.data() + i + 1, stop - 1 - i)) / u(i)[i];
    const auto positive = [](double entry) { return entry > 0.0; };
    if (while_positive && !std::all_of(z.begin() + block, z.begin() + stop, positive)) return block;
  }
  return 0;
}

}  // namespace acs_fast
