// The Python module acs_fast._C: plain functions on addresses. Arguments are checked, and outputs allocated, in Python.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "cpu/kernels.h"
#include "cpu/ops.h"
#ifdef ACS_FAST_CUDA
#include "cuda/bindings.h"
#endif

#ifndef ACS_FAST_FLAGS
#define ACS_FAST_FLAGS ""
#endif

namespace py = pybind11;

namespace acs_fast {

void bind_parts(py::module_& m);

namespace {

using Address = std::uintptr_t;

template <class T>
T* at(Address address) {
  return reinterpret_cast<T*>(address);
}

py::dict build_info() {
  py::dict info;
  info["compiler"] = __VERSION__;
  info["flags"] = ACS_FAST_FLAGS;
  info["simd"] = simd_name(simd_level());
  info["best simd"] = simd_name(best_simd_level());
  return info;
}

FactorArrays factor_arrays(Address residuals, Address features, bool is_double, int64_t N, int64_t R, int64_t C,
                           int64_t D, bool bias) {
  return {at<const void>(residuals), at<const void>(features), is_double, N, R, C, D, bias};
}

Problems make_problems(Address members, Address offsets, Address budgets, int64_t groups) {
  return Problems(at<const int64_t>(members), at<const int64_t>(offsets), at<const int64_t>(budgets), groups);
}

StageSeconds run_pairwise_distances(const FactorArrays& factors, bool squared, int threads, Address distances) {
  return pairwise_distances(factors, squared, threads, at<void>(distances));
}

StageSeconds run_greedy(Address distances, bool is_double, int64_t n, int64_t budget, int threads, Address indices,
                        Address gains, Address assignment) {
  const auto solve = [&](const auto* d) {
    return greedy(d, n, budget, threads, at<int64_t>(indices), at<double>(gains), at<int64_t>(assignment));
  };
  return is_double ? solve(at<const double>(distances)) : solve(at<const float>(distances));
}

StageSeconds run_facility_location(const FactorArrays& factors, bool squared, const Problems& problems,
                                   int64_t workspace_bytes, int threads, Address indices, Address weights,
                                   Address gains, Address objectives) {
  return facility_location(factors, squared, problems, workspace_bytes, threads, at<int64_t>(indices),
                           at<float>(weights), at<double>(gains), at<double>(objectives));
}

StageSeconds run_gradient_matching(const FactorArrays& factors, const Problems& problems, Address targets,
                                   double ridge, int threads, Address indices, Address weights, Address gains,
                                   Address counts) {
  return gradient_matching(factors, problems, at<const double>(targets), ridge, threads, at<int64_t>(indices),
                           at<double>(weights), at<double>(gains), at<int64_t>(counts));
}

}  // namespace
}  // namespace acs_fast

PYBIND11_MODULE(_C, m) {
  using namespace acs_fast;
  const py::call_guard<py::gil_scoped_release> unlocked;
  m.doc() = "Compiled operators of acs_fast, on addresses of memory that the caller holds.";
  m.def("build_info", &build_info, "Compiler, flags, and the instruction set chosen at run time.");
  py::class_<FactorArrays>(m, "Factors").def(py::init(&factor_arrays));
  py::class_<Problems>(m, "Problems").def(py::init(&make_problems));
  m.def("pairwise_distances", &run_pairwise_distances, unlocked);
  m.def("greedy", &run_greedy, unlocked);
  m.def("facility_location", &run_facility_location, unlocked);
  m.def("facility_location_dense_bytes", &facility_location_dense_bytes);
  m.def("gradient_matching", &run_gradient_matching, unlocked);
  bind_parts(m);
#ifdef ACS_FAST_CUDA
  bind_cuda(m);
#endif
}
