#include "replay.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace acs_fast {
namespace {

// Entries in the order of a key in [0, keys): those of key k are order[begin[k] : begin[k + 1]]
struct Sorted {
  Sorted(const int64_t* key, int64_t count, int64_t keys) : begin(keys + 1, 0), order(count) {
    for (int64_t e = 0; e < count; ++e) ++begin[key[e] + 1];
    for (int64_t k = 0; k < keys; ++k) begin[k + 1] += begin[k];
    std::vector<int64_t> next(begin.begin(), begin.end() - 1);
    for (int64_t e = 0; e < count; ++e) order[next[key[e]]++] = e;
  }
  std::vector<int64_t> begin, order;
};

}  // namespace

template <class T>
int64_t replay(const Candidates& candidates, const Offers<T>& offers, const Payers<T>& payers, double scale,
               int64_t* picks, int64_t* values) {
  const auto quantised = [&](T x) { return int64_t(std::llrint(double(x) * scale)); };
  const Sorted by_candidate(offers.candidate, offers.count, candidates.count);
  const Sorted by_sample(offers.sample, offers.count, payers.count);
  std::vector<int64_t> cost(offers.count), paid(payers.count);
  for (int64_t e = 0; e < offers.count; ++e) cost[e] = quantised(offers.price[e]);
  for (int64_t s = 0; s < payers.count; ++s) paid[s] = quantised(payers.level[s]);
  int64_t* gains = candidates.gains;
  int64_t step = 0;
  for (; step < candidates.count; ++step) {
    const int64_t best = std::max_element(gains, gains + candidates.count) - gains;  // of equals the lowest number
    const bool behind = gains[best] < candidates.bound_gain ||
                        (gains[best] == candidates.bound_gain && candidates.numbers[best] > candidates.bound_number);
    if (gains[best] < 0 || (step > 0 && behind)) break;
    picks[step] = best;
    values[step] = gains[best];
    for (int64_t at = by_candidate.begin[best]; at < by_candidate.begin[best + 1]; ++at) {
      const int64_t e = by_candidate.order[at], sample = offers.sample[e];
      if (cost[e] >= paid[sample]) continue;
      for (int64_t other = by_sample.begin[sample]; other < by_sample.begin[sample + 1]; ++other) {
        const int64_t o = by_sample.order[other];
        gains[offers.candidate[o]] -=
            std::max<int64_t>(paid[sample] - cost[o], 0) - std::max<int64_t>(cost[e] - cost[o], 0);
      }
      payers.level[sample] = offers.price[e];
      payers.server[sample] = step;
      paid[sample] = cost[e];
    }
    gains[best] = -1;
  }
  return step;
}

template int64_t replay(const Candidates&, const Offers<float>&, const Payers<float>&, double, int64_t*, int64_t*);
template int64_t replay(const Candidates&, const Offers<double>&, const Payers<double>&, double, int64_t*, int64_t*);

}  // namespace acs_fast
