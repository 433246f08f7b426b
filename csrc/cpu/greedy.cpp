// Greedy facility location on a given matrix.
#include "greedy.h"

#include <cmath>
#include <cstring>

#include "factors.h"
#include "ops.h"
#include "stages.h"

namespace acs_fast {
namespace {

constexpr int64_t kBlock = 32;

template <class T>
struct Bits;
template <>
struct Bits<float> {
  using type = uint32_t;
};
template <>
struct Bits<double> {
  using type = uint64_t;
};

// Of finite distances >= 0, equal bits are equal distances, and the largest bits are the largest distance's.
template <class T>
struct Survey {
  using Word = typename Bits<T>::type;
  Word largest = 0;
  bool symmetric = true;
  bool valid() const { return !std::signbit(value()) && std::isfinite(value()); }
  T value() const {
    T x;
    std::memcpy(&x, &largest, sizeof x);
    return x;
  }
};

// Block row `row` against its mirror image: one pass over the matrix for both questions
template <class T>
void survey_blocks(const T* d, int64_t n, int64_t row, Survey<T>& found) {
  using Word = typename Bits<T>::type;
  const Word* w = reinterpret_cast<const Word*>(d);
  const int64_t i0 = row * kBlock, i1 = std::min(n, i0 + kBlock);
  for (int64_t j0 = i0; j0 < n; j0 += kBlock) {
    const int64_t j1 = std::min(n, j0 + kBlock);
    Word top = 0, differs = 0;
    for (int64_t i = i0; i < i1; ++i)
      for (int64_t j = j0; j < j1; ++j) top = std::max(top, w[i * n + j]);
    for (int64_t j = j0; j < j1; ++j)
      for (int64_t i = i0; i < i1; ++i) {
        top = std::max(top, w[j * n + i]);
        differs |= w[j * n + i] ^ w[i * n + j];
      }
    found.largest = std::max(found.largest, top);
    found.symmetric &= differs == 0;
  }
}

template <class T>
Survey<T> survey(Team& team, const T* d, int64_t n) {
  std::vector<Survey<T>> found(team.size());
  std::atomic<int64_t> next{0};
  team.run([&](int rank) {
    Survey<T> own;
    for (int64_t row = next.fetch_add(1); row * kBlock < n; row = next.fetch_add(1)) survey_blocks(d, n, row, own);
    found[rank] = own;
  });
  for (const auto& f : found) {
    found[0].largest = std::max(found[0].largest, f.largest);
    found[0].symmetric &= f.symmetric;
  }
  return found[0];
}

template <class T>
void solve(const at::Tensor& distances, int64_t budget, Tensors3& out) {
  const int64_t n = distances.size(0);
  const T* d = distances.const_data_ptr<T>();
  Team team(threads());
  Survey<T> found = survey(team, d, n);
  if (!found.valid()) {  // NaN, infinite, negative, or only a minus zero
    TORCH_CHECK_VALUE(distances.isfinite().all().item<bool>(), "distances must be finite");
    TORCH_CHECK_VALUE(distances.ge(0).all().item<bool>(), "distances must be >= 0; got ", distances.min().item<double>());
    const T top = distances.max().item<T>() + T(0);
    std::memcpy(&found.largest, &top, sizeof top);
  }
  Greedy<T> greedy(team, n, double(found.value()));
  MatrixSource<T> source(d, n, found.symmetric, team.size());
  GreedyResult result{std::get<0>(out).mutable_data_ptr<int64_t>(), std::get<1>(out).mutable_data_ptr<double>(),
                      std::get<2>(out).mutable_data_ptr<int64_t>(), 0.0};
  run_on_matrix(team, greedy, source, d, n, budget, result);
}

}  // namespace

Tensors3 greedy_cpu(const at::Tensor& distances, int64_t budget) {
  TORCH_CHECK_TYPE(distances.scalar_type() == at::kFloat || distances.scalar_type() == at::kDouble,
                   "distances must be float32 or float64; got ", distances.scalar_type());
  TORCH_CHECK_VALUE(distances.dim() == 2 && distances.size(0) == distances.size(1),
                    "distances must be a square matrix [N, N]; got ", distances.sizes());
  const int64_t n = distances.size(0);
  TORCH_CHECK_VALUE(0 <= budget && budget <= n, "budget must be between 0 and N, ", n, "; got ", budget);
  TORCH_CHECK_VALUE(n <= std::numeric_limits<int32_t>::max() - 1024, "distances must have fewer than 2^31 rows");
  const Stopwatch start;
  const at::Tensor d = distances.detach().contiguous();
  Tensors3 out{at::empty({budget}, at::kLong), at::empty({budget}, at::kDouble), at::zeros({n}, at::kLong)};
  if (n > 0) d.scalar_type() == at::kDouble ? solve<double>(d, budget, out) : solve<float>(d, budget, out);
  stage_seconds()["greedy"] += Stopwatch(start).lap();
  return out;
}

}  // namespace acs_fast
