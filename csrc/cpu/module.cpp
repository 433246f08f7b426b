// Registration of the operators for the CPU, and facts about the build for Python.
#include <ATen/Parallel.h>
#include <torch/extension.h>
#include <torch/library.h>

#include "kernels.h"
#include "ops.h"
#include "stages.h"

#ifndef ACS_FAST_FLAGS
#define ACS_FAST_FLAGS ""
#endif

namespace acs_fast {

void bind_parts(pybind11::module_& m);

namespace {

pybind11::dict build_info() {
  pybind11::dict info;
  info["torch"] = TORCH_VERSION;
  info["compiler"] = __VERSION__;
  info["flags"] = ACS_FAST_FLAGS;
  info["simd"] = simd_name(simd_level());
  info["threads"] = at::get_num_threads();
  return info;
}

std::map<std::string, double> take_seconds() { return std::exchange(stage_seconds(), {}); }

}  // namespace

TORCH_LIBRARY_IMPL(acs_fast, CPU, m) {
  m.impl("pairwise_distances", pairwise_distances_cpu);
  m.impl("greedy", greedy_cpu);
  m.impl("facility_location", facility_location_cpu);
  m.impl("gradient_matching", gradient_matching_cpu);
}

}  // namespace acs_fast

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.doc() = "Compiled operators of acs_fast; importing it registers them with the torch dispatcher.";
  m.def("build_info", &acs_fast::build_info, "Versions, flags, and what was chosen at run time.");
  acs_fast::bind_parts(m);
  m.def("take_seconds", &acs_fast::take_seconds, "Seconds by stage since the last call, and forget them.");
}
