#pragma once

#include <pybind11/pybind11.h>

namespace acs_fast {

void bind_cuda(pybind11::module_& m);

}  // namespace acs_fast
