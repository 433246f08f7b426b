// One group, four blocks of threads, and the greedy by its definition beside it: `greedy SIZE BUDGET`.
#include <algorithm>

#include "../greedy.cpp"

namespace {

std::vector<float> random_distances(int n) {
  std::vector<float> d(static_cast<size_t>(n) * n);
  unsigned long long state = 12345;
  for (int i = 0; i < n; ++i)
    for (int j = i + 1; j < n; ++j) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      d[i * n + j] = d[j * n + i] = static_cast<float>((state >> 33) % 64 + 1) / 16.0f;  // with ties
    }
  return d;
}

std::vector<int64_t> by_definition(const std::vector<float>& d, int n, int budget) {
  std::vector<float> level(n, *std::max_element(d.begin(), d.end()));
  std::vector<int64_t> picks;
  std::vector<bool> taken(n);
  for (int step = 0; step < budget; ++step) {
    int best = -1;
    double most = -1.0;
    for (int j = 0; j < n; ++j) {
      double gain = 0.0;  // sixteenths: exact
      for (int i = 0; i < n; ++i) gain += std::max(level[i] - d[i * n + j], 0.0f);
      if (!taken[j] && gain > most) most = gain, best = j;
    }
    taken[best] = true;
    picks.push_back(best);
    for (int i = 0; i < n; ++i) level[i] = std::min(level[i], d[i * n + best]);
  }
  return picks;
}

}  // namespace

int main(int, char** arguments) {
  const int n = std::atoi(arguments[1]), budget = std::atoi(arguments[2]);
  const std::vector<float> d = random_distances(n);
  const float d_max = *std::max_element(d.begin(), d.end());
  const int64_t table[6] = {0, n, 0, 0, n, budget};
  std::vector<int64_t> picks(budget, -7), assignment(n, -7);
  std::vector<double> gains(budget), objective(1);
  std::vector<float> weights(budget);
  const int status = emulate_greedy_float(d.data(), &d_max, table, 1, 1, 4, 4, 1 << 16, 0, picks.data(), gains.data(),
                                          weights.data(), assignment.data(), objective.data());
  if (status < 0) return 2;
  return picks == by_definition(d, n, budget) ? 0 : 1;
}
