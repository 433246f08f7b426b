// Greedy facility location on a given matrix.
#include "greedy.h"

#include <cmath>
#include <cstring>
#include <type_traits>

#include "factors.h"
#include "ops.h"
#include "stages.h"

namespace acs_fast {
namespace {

constexpr int64_t kMirrorBytes = int64_t(1) << 30;  // largest matrix that is copied so that its columns can be read

// One pass over the matrix: of finite distances >= 0 the largest bits are the largest distance's.
template <class T>
struct Survey {
  uint64_t largest = 0;
  bool symmetric = true;

  T value() const {
    T x;
    const auto bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>(largest);
    std::memcpy(&x, &bits, sizeof x);
    return x;
  }
  bool valid() const { return !std::signbit(value()) && std::isfinite(value()); }
};

int64_t block_size(int64_t n, int64_t begin) { return std::min<int64_t>(kCompared, n - begin); }

template <class T>
Survey<T> survey(Team& team, const T* d, int64_t n) {
  std::vector<Survey<T>> found(team.size());
  std::atomic<int64_t> next{0};
  team.run([&](int rank) {
    Survey<T> own;
    for (int64_t i = next.fetch_add(kCompared); i < n; i = next.fetch_add(kCompared))
      for (int64_t j = i; j < n; j += kCompared)
        own.symmetric &= kernels<T>().mirrors(d + i * n + j, d + j * n + i, n, block_size(n, i), block_size(n, j),
                                              &own.largest);
    found[rank] = own;
  });
  for (const auto& f : found) {
    found[0].largest = std::max(found[0].largest, f.largest);
    found[0].symmetric &= f.symmetric;
  }
  return found[0];
}

// The columns of an asymmetric matrix as rows, where there is memory to spare; else nothing.
template <class T>
Buffer<T> columns_of(Team& team, const T* d, int64_t n) {
  if (n * n * int64_t(sizeof(T)) > kMirrorBytes) return {};
  Buffer<T> mirrored(size_t(n) * n);
  std::atomic<int64_t> next{0};
  team.run([&](int) {
    for (int64_t i = next.fetch_add(kCompared); i < n; i = next.fetch_add(kCompared))
      for (int64_t j = 0; j < n; j += kCompared)
        kernels<T>().transpose(d + i * n + j, n, block_size(n, i), block_size(n, j), mirrored.data() + j * n + i, n);
  });
  return mirrored;
}

template <class T>
void solve(const at::Tensor& distances, int64_t budget, Tensors3& out) {
  const int64_t n = distances.size(0);
  const T* d = distances.const_data_ptr<T>();
  Team team(threads());
  Survey<T> found = survey(team, d, n);
  if (!found.valid()) {  // NaN, infinite, negative, or only a minus zero
    TORCH_CHECK_VALUE(distances.isfinite().all().item<bool>(), "distances must be finite");
    TORCH_CHECK_VALUE(distances.ge(0).all().item<bool>(), "distances must be >= 0; got ",
                      distances.min().item<double>());
    const T top = distances.max().item<T>() + T(0);
    found.largest = 0;
    std::memcpy(&found.largest, &top, sizeof top);
  }
  Greedy<T> greedy(n, double(found.value()));
  const Buffer<T> mirrored = found.symmetric ? Buffer<T>() : columns_of(team, d, n);
  MatrixSource<T> source(d, n, found.symmetric ? d : mirrored.data(), team);
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
