// Greedy among a few candidates, by one process for itself, from the samples that would pay less at each of them.
#pragma once

#include <cstdint>

namespace acs_fast {

// M candidates, by number; taken ones end at a gain of -1. The best of all others had `bound`, of which gains never grow.
struct Candidates {
  const int64_t* numbers;
  int64_t* gains;
  int64_t count;
  int64_t bound_gain, bound_number;
};

// E entries: a candidate, the place of a sample, and what it would pay there.
template <class T>
struct Offers {
  const int64_t *candidate, *sample;
  const T* price;
  int64_t count;
};

// S samples: what each pays, and which of the picks made here serves it.
template <class T>
struct Payers {
  T* level;
  int64_t* server;
  int64_t count;
};

// Picks as long as greedy over all candidates is certain to pick the same: picks[s] is the position of a candidate, and
// values[s] its gain; returns how many.
template <class T>
int64_t replay(const Candidates& candidates, const Offers<T>& offers, const Payers<T>& payers, double scale,
               int64_t* picks, int64_t* values);

}  // namespace acs_fast
