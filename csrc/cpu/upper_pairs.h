// The upper triangle of a square, dealt out to threads pair by pair.
#pragma once

#include <atomic>
#include <cstdint>

namespace acs_fast {

// visit(row, column) for the pairs row <= column < count that this thread takes off the counter
template <class Visit>
void upper_pairs(std::atomic<int64_t>& next, int64_t count, const Visit& visit) {
  int64_t row = 0, before = 0;  // pairs in the rows above
  for (int64_t t = next.fetch_add(1); t < count * (count + 1) / 2; t = next.fetch_add(1)) {
    for (; t >= before + (count - row); ++row) before += count - row;
    visit(row, row + t - before);
  }
}

}  // namespace acs_fast
