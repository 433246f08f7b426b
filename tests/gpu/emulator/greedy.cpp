// The greedy kernel and its plan, emulated: a C interface for the tests.
#include <array>

#include "../../../csrc/cuda/greedy.cu"
#include "../../../csrc/cuda/greedy_plan.cpp"

namespace {

template <typename T>
std::vector<T> poisoned(size_t count) {
  std::vector<T> result(count);
  std::memset(static_cast<void*>(result.data()), 0xa5, count * sizeof(T));
  return result;
}

template <typename T>
int emulate(const T* distances, const T* d_max, const int64_t* table, int groups, int symmetric, int multiprocessors,
            int resident, int64_t shared_bytes, int64_t seed, int64_t* picks, double* gains, float* weights,
            int64_t* assignment, double* objective) {
  std::vector<acs_fast::cuda::Group> all;
  int64_t n = 0;
  for (int i = 0; i < groups; ++i) {
    const int64_t* t = table + 6 * i;
    all.push_back({t[0], t[1], t[2], t[3], static_cast<int32_t>(t[4]), static_cast<int32_t>(t[5])});
    n += t[4];
  }
  const acs_fast::cuda::Device device{multiprocessors, static_cast<size_t>(shared_bytes)};
  const acs_fast::cuda::GreedyPlan plan = acs_fast::cuda::plan_greedy(all, sizeof(T), device, resident);
  std::vector<acs_fast::cuda::Slot> slots(2 * plan.slots);
  std::vector<int32_t> touched(2 * groups);
  int32_t head = 0;
  std::vector<unsigned long long> sums(groups);
  std::vector<double> unit(groups);
  auto gain = poisoned<long long>(n);
  auto level = poisoned<T>(n);
  auto row = poisoned<int32_t>(n);
  auto levels = poisoned<T>(2 * n);
  const acs_fast::cuda::GreedyArguments<T> a{distances, d_max, all.data(), plan.roles.data(), plan.queue.data(),
      static_cast<int32_t>(plan.queue.size()), symmetric != 0, plan.region_bytes, slots.data(), &head, touched.data(),
      gain.data(), level.data(), row.data(), levels.data(), picks, gains, weights, assignment, sums.data(), unit.data()};
  emulator::seed() = static_cast<unsigned long long>(seed);
  emulator::shared_limit() = device.shared_bytes;
  try {
    if (acs_fast::cuda::launch_greedy<T>(a, plan, nullptr) != cudaSuccess) return -2;
  } catch (const std::exception&) {
    return -1;
  }
  for (int i = 0; i < groups; ++i) objective[i] = static_cast<double>(sums[i]) * unit[i];
  return static_cast<int>(plan.roles.size() - std::min(plan.roles.size(), plan.queue.size()));
}

}  // namespace

extern "C" {
int emulate_greedy_float(const float* d, const float* m, const int64_t* t, int g, int s, int mp, int r, int64_t sh,
                         int64_t seed, int64_t* p, double* ga, float* w, int64_t* as, double* o) {
  return emulate<float>(d, m, t, g, s, mp, r, sh, seed, p, ga, w, as, o);
}
int emulate_greedy_double(const double* d, const double* m, const int64_t* t, int g, int s, int mp, int r, int64_t sh,
                          int64_t seed, int64_t* p, double* ga, float* w, int64_t* as, double* o) {
  return emulate<double>(d, m, t, g, s, mp, r, sh, seed, p, ga, w, as, o);
}
int64_t shared_allowed() { return static_cast<int64_t>(emulator::shared_allowed()); }
int scale_exponent(double d_max, long long n) { return acs_fast::cuda::scale_exponent(d_max, n); }
long long quantise(double distance, double scale) { return acs_fast::cuda::quantise(distance, scale); }
// Shared memory that a block asks for, of what the device has.
int64_t shared_bytes(const int64_t* sizes, int groups, int element, int64_t limit) {
  std::vector<acs_fast::cuda::Group> all;
  for (int i = 0; i < groups; ++i) all.push_back({0, 0, 0, 0, static_cast<int32_t>(sizes[i]), 1});
  const acs_fast::cuda::Device device{132, static_cast<size_t>(limit)};
  const acs_fast::cuda::GreedyPlan plan = acs_fast::cuda::plan_greedy(all, element, device, 1);
  return acs_fast::cuda::greedy_fixed_bytes(plan.threads, element) + plan.region_bytes;
}
// [multiprocessors' blocks] group, rank and size of every block of a plan
int plan(const int64_t* sizes, int groups, int element, int multiprocessors, int resident, int64_t shared_bytes,
         int32_t* roles, int32_t* queued) {
  std::vector<acs_fast::cuda::Group> all;
  for (int i = 0; i < groups; ++i) all.push_back({0, 0, 0, 0, static_cast<int32_t>(sizes[i]), 1});
  const acs_fast::cuda::GreedyPlan p = acs_fast::cuda::plan_greedy(all, element, {multiprocessors, static_cast<size_t>(shared_bytes)}, resident);
  for (size_t i = 0; i < p.roles.size(); ++i) {
    roles[3 * i] = p.roles[i].group;
    roles[3 * i + 1] = p.roles[i].rank;
    roles[3 * i + 2] = p.roles[i].size;
  }
  *queued = static_cast<int32_t>(p.queue.size());
  return static_cast<int>(p.roles.size());
}
}
