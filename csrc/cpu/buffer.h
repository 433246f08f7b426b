// Uninitialised aligned memory, on huge pages where it is large and the system has them.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace acs_fast {

template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t count) {
    const size_t align = count * sizeof(T) >= kHuge ? kHuge : 64;
    const size_t bytes = (count * sizeof(T) + align - 1) / align * align;
    if (count > (size_t(-1) - kHuge) / sizeof(T)) throw std::bad_alloc();
    data_.reset(static_cast<T*>(std::aligned_alloc(align, bytes ? bytes : align)));
    if (!data_) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
    if (align == kHuge) madvise(data_.get(), bytes, MADV_HUGEPAGE);
#endif
  }
  T* data() const { return data_.get(); }
  T& operator[](size_t i) const { return data_.get()[i]; }

 private:
  static constexpr size_t kHuge = size_t(1) << 21;
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
};

}  // namespace acs_fast
