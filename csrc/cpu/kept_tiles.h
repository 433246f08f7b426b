// The tiles of a symmetric matrix's upper triangle, as many block rows of them as fit in some memory.
#pragma once

#include <cstdint>

#include "buffer.h"

namespace acs_fast {

template <class T>
class KeptTiles {
 public:
  // `tiles` block rows of a matrix in tiles of `size` rows and columns
  KeptTiles(int64_t tiles, int64_t size, double bytes) : tiles_(tiles), entries_(size * size) {
    while (rows_ < tiles_ && double(slot(rows_ + 1, rows_ + 1)) * double(entries_ * sizeof(T)) <= bytes) ++rows_;
    if (rows_ > 0) memory_ = Buffer<T>(size_t(slot(rows_, rows_)) * entries_);
  }
  // Gives up the last block rows until at least so many bytes are free of them
  void give_back(double bytes) {
    const int64_t before = slot(rows_, rows_);
    while (rows_ > 0 && double(before - slot(rows_, rows_)) * double(entries_ * sizeof(T)) < bytes) --rows_;
    const int64_t after = slot(rows_, rows_);
    release(memory_.data() + after * entries_, size_t(before - after) * entries_ * sizeof(T));
  }
  bool has(int64_t row) const { return row < rows_; }  // whether all tiles (row, row), (row, row + 1), ... are kept
  T* at(int64_t row, int64_t column) const { return memory_.data() + slot(row, column) * entries_; }  // row <= column

 private:
  int64_t slot(int64_t row, int64_t column) const { return row * tiles_ - row * (row - 1) / 2 + column - row; }

  const int64_t tiles_, entries_;
  int64_t rows_ = 0;
  Buffer<T> memory_;
};

}  // namespace acs_fast
