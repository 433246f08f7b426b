// What both emulations share: CUDA's words on a host, and the calls that the kernels and their launchers make. The one
// that includes this defines what is declared here.
#pragma once

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <type_traits>
#include <vector>

#define ACS_EMULATED
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define ACS_DYNAMIC_SHARED(name) unsigned char* name = emulator::shared_memory()
#define threadIdx (emulator::Index{emulator::thread_index()})
#define blockIdx (emulator::Index{emulator::block_index()})

struct dim3 {
  unsigned x = 1;
  explicit dim3(unsigned value = 1) : x(value) {}
};
using cudaStream_t = void*;
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin };

namespace emulator {

struct Index {
  unsigned x;
};
using Exchanged = std::array<unsigned char, 16>;  // what a thread shows the others of its warp

// Of the thread that asks
unsigned char* shared_memory();
unsigned thread_index();
unsigned block_index();
Exchanged& exchanged(unsigned thread);
void wait_for_warp();
// Until every thread has returned
void run(unsigned blocks, unsigned threads, size_t shared_bytes, const std::function<void()>& kernel);

inline unsigned long long& seed() {
  static unsigned long long value = 0;
  return value;
}
inline size_t& shared_limit() {
  static size_t bytes = 0;
  return bytes;
}
inline size_t& shared_allowed() {
  static size_t bytes = 48 << 10;
  return bytes;
}

}  // namespace emulator

template <typename T>
T __shfl_xor_sync(unsigned, T value, int lanes) {
  const unsigned own = emulator::thread_index();
  std::memcpy(emulator::exchanged(own).data(), &value, sizeof(T));
  emulator::wait_for_warp();
  T result;
  std::memcpy(&result, emulator::exchanged(own ^ lanes).data(), sizeof(T));
  emulator::wait_for_warp();
  return result;
}

template <typename T>
T __ldcg(const T* address) {
  return *address;
}

inline int min(int a, int b) { return a < b ? a : b; }

inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = static_cast<int>(emulator::shared_limit());
  return cudaSuccess;
}
template <typename P>
cudaError_t cudaFuncSetAttribute(void (*)(P), cudaFuncAttribute, int bytes) {
  emulator::shared_allowed() = static_cast<size_t>(bytes);
  return emulator::shared_allowed() <= emulator::shared_limit() ? cudaSuccess : cudaErrorInvalidValue;
}
template <typename P>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void (*)(P), int, size_t) {
  *blocks = 1;
  return cudaSuccess;
}
template <typename P>
cudaError_t cudaLaunchCooperativeKernel(void (*kernel)(P), dim3 grid, dim3 block, void** parameters, size_t shared,
                                        cudaStream_t) {
  if (shared > emulator::shared_allowed()) return cudaErrorInvalidValue;
  auto* argument = static_cast<std::remove_const_t<P>*>(parameters[0]);
  emulator::run(grid.x, block.x, shared, [=] { kernel(*argument); });
  return cudaSuccess;
}
