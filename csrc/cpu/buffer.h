// Uninitialised aligned memory, on huge pages where it is large and the system has them.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace acs_fast {

constexpr size_t kHugePage = size_t(1) << 21;

// What a buffer of so many bytes takes at most
inline double rounded_up(double bytes) { return bytes < double(kHugePage) ? bytes : bytes + double(kHugePage); }

// Asks for huge pages where memory that somebody else has allocated covers whole ones: far fewer page faults.
inline void prefer_huge_pages(void* data, size_t bytes) {
#ifdef MADV_HUGEPAGE
  const size_t address = reinterpret_cast<size_t>(data), begin = (address + kHugePage - 1) / kHugePage * kHugePage;
  const size_t end = (address + bytes) / kHugePage * kHugePage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

// The system may take the pages that lie in this memory, whose content nobody will read again.
inline void release(void* data, size_t bytes) {
#ifdef MADV_DONTNEED
  const size_t address = reinterpret_cast<size_t>(data), page = size_t(sysconf(_SC_PAGESIZE));
  const size_t begin = (address + page - 1) / page * page, end = (address + bytes) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
#endif
}

template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t count) {
    const size_t align = count * sizeof(T) >= kHugePage ? kHugePage : 64;
    const size_t bytes = (count * sizeof(T) + align - 1) / align * align;
    if (count > (size_t(-1) - kHugePage) / sizeof(T)) throw std::bad_alloc();
    data_.reset(static_cast<T*>(std::aligned_alloc(align, bytes ? bytes : align)));
    if (!data_) throw std::bad_alloc();
    prefer_huge_pages(data_.get(), bytes);
  }
  T* data() const { return data_.get(); }
  T& operator[](size_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
};

}  // namespace acs_fast
