// Importing acs_fast._C registers its operators with the torch dispatcher.
#include <torch/extension.h>

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.doc() = "Compiled operators of acs_fast."; }
