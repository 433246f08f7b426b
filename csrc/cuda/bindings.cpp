// The CUDA greedy for Python: addresses on the device, the stream as an integer; the work is in greedy.cu.
#include "bindings.h"

#include <cstring>
#include <stdexcept>
#include <string>

#include "greedy.h"

namespace acs_fast {
namespace {

using namespace cuda;
namespace py = pybind11;
using Address = std::uintptr_t;

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

// The parts of one allocation, each at a multiple of 16 bytes.
class Layout {
 public:
  template <class T>
  size_t add(int64_t count) {
    const size_t begin = bytes_;
    bytes_ += (static_cast<size_t>(count) * sizeof(T) + 15) / 16 * 16;
    return begin;
  }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_ = 0;
};

Device device_of(int number) {
  check(cudaSetDevice(number));
  int multiprocessors = 0, shared_bytes = 0;
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, number));
  check(cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, number));
  return {multiprocessors, static_cast<size_t>(shared_bytes)};
}

// One run of the greedy over groups [G, 4] (first member, size, first element of the matrix, row stride) and their
// budgets [G]: how much memory it needs, and its launch. The caller holds three allocations on the device: a copy of
// `write_table`'s bytes, zeros, and scratch.
class GreedyRun {
 public:
  GreedyRun(int device, bool is_double, Address layout, Address budgets, int64_t groups)
      : device_(device), is_double_(is_double) {
    const int64_t *row = at<const int64_t>(layout), *share = at<const int64_t>(budgets);
    for (int64_t i = 0; i < groups; ++i, row += 4) {
      groups_.push_back({row[2], row[3], row[0], picks_, static_cast<int32_t>(row[1]), static_cast<int32_t>(share[i])});
      members_ += row[1];
      picks_ += share[i];
    }
    is_double ? plan<double>() : plan<float>();
    groups_at_ = table_.add<Group>(groups);
    roles_at_ = table_.add<BlockRole>(static_cast<int64_t>(plan_.roles.size()));
    queue_at_ = table_.add<int32_t>(static_cast<int64_t>(plan_.queue.size()));
    slots_at_ = zeros_.add<int64_t>(4 * plan_.slots);
    head_at_ = zeros_.add<int32_t>(1);
    touched_at_ = zeros_.add<int32_t>(2 * groups);
    gain_at_ = scratch_.add<long long>(members_);
    level_at_ = scratch_.add<double>(members_);
    row_at_ = scratch_.add<int32_t>(members_);
    levels_at_ = scratch_.add<double>(2 * members_);
  }

  size_t table_bytes() const { return table_.bytes(); }
  size_t zeros_bytes() const { return zeros_.bytes(); }
  size_t scratch_bytes() const { return scratch_.bytes(); }

  void write_table(Address host) const {
    std::memcpy(at<char>(host) + groups_at_, groups_.data(), groups_.size() * sizeof(Group));
    std::memcpy(at<char>(host) + roles_at_, plan_.roles.data(), plan_.roles.size() * sizeof(BlockRole));
    std::memcpy(at<char>(host) + queue_at_, plan_.queue.data(), plan_.queue.size() * sizeof(int32_t));
  }

  // distances [E], largest [G]; picks [k], gains [k], weights [k] zeroed, assignment [N], objective [G] zeroed in units
  // of unit [G]
  void launch(Address distances, Address largest, bool symmetric, Address table, Address zeros, Address scratch,
              Address picks, Address gains, Address weights, Address assignment, Address objective, Address unit,
              Address stream) const {
    const auto start = [&](auto arguments) {
      using T = std::remove_const_t<std::remove_pointer_t<decltype(arguments.distances)>>;
      arguments.distances = at<const T>(distances);
      arguments.d_max = at<const T>(largest);
      arguments.groups = at<const Group>(table + groups_at_);
      arguments.roles = at<const BlockRole>(table + roles_at_);
      arguments.queue = at<const int32_t>(table + queue_at_);
      arguments.queue_length = static_cast<int32_t>(plan_.queue.size());
      arguments.symmetric = symmetric;
      arguments.region_bytes = plan_.region_bytes;
      arguments.slots = at<void>(zeros + slots_at_);
      arguments.queue_head = at<int32_t>(zeros + head_at_);
      arguments.touched = at<int32_t>(zeros + touched_at_);
      arguments.gain = at<long long>(scratch + gain_at_);
      arguments.level = at<T>(scratch + level_at_);
      arguments.touched_row = at<int32_t>(scratch + row_at_);
      arguments.touched_levels = at<void>(scratch + levels_at_);
      arguments.picks = at<int64_t>(picks);
      arguments.gains = at<double>(gains);
      arguments.weights = at<float>(weights);
      arguments.assignment = at<int64_t>(assignment);
      arguments.objective = at<unsigned long long>(objective);
      arguments.unit = at<double>(unit);
      check(launch_greedy(arguments, plan_, at<CUstream_st>(stream)));
      check(cudaGetLastError());
    };
    check(cudaSetDevice(device_));
    is_double_ ? start(GreedyArguments<double>{}) : start(GreedyArguments<float>{});
  }

 private:
  template <class T>
  void plan() {
    const Device device = device_of(device_);
    int blocks = 0;
    check(greedy_blocks_per_multiprocessor<T>(plan_greedy(groups_, sizeof(T), device, 1), &blocks));
    if (blocks == 0) throw std::runtime_error("the greedy kernel does not fit on this GPU");
    plan_ = plan_greedy(groups_, sizeof(T), device, blocks * device.multiprocessors);
  }

  const int device_;
  const bool is_double_;
  std::vector<Group> groups_;
  int64_t members_ = 0, picks_ = 0;
  GreedyPlan plan_;
  Layout table_, zeros_, scratch_;
  size_t groups_at_, roles_at_, queue_at_, slots_at_, head_at_, touched_at_, gain_at_, level_at_, row_at_, levels_at_;
};

}  // namespace

void bind_cuda(py::module_& m) {
  py::class_<GreedyRun>(m, "GreedyRun")
      .def(py::init<int, bool, Address, Address, int64_t>())
      .def_property_readonly("table_bytes", &GreedyRun::table_bytes)
      .def_property_readonly("zeros_bytes", &GreedyRun::zeros_bytes)
      .def_property_readonly("scratch_bytes", &GreedyRun::scratch_bytes)
      .def("write_table", &GreedyRun::write_table)
      .def("launch", &GreedyRun::launch, py::call_guard<py::gil_scoped_release>());
}

}  // namespace acs_fast
