"""What holds for all tests: the process is left as it was found, at however many threads it runs."""

import gc
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist

OF_THE_TOOLS = (  # set by pytest, by torch, and by scikit-learn and Lightning when they are imported, whoever is first
    "PYTEST_",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
    "KMP_DUPLICATE_LIB_OK",
    "KMP_INIT_AT_FORK",
    "PYTORCH_NVML_BASED_CUDA_CHECK",
)
SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")
THREADS = os.environ.get("ACS_FAST_TEST_THREADS")
if THREADS:
    torch.set_num_threads(int(THREADS))


def pytest_runtest_setup(item):
    if SANITIZED and item.get_closest_marker("ordinary_memory"):
        pytest.skip("under a sanitizer, which takes memory of its own")


def state_of_the_process():
    """What a test could leave behind for those after it; random numbers apart, which every test seeds for itself."""
    return {
        "torch threads": torch.get_num_threads(),
        "frozen objects": gc.get_freeze_count(),
        "garbage collection": gc.isenabled(),
        **{f"variable {k}": v for k, v in os.environ.items() if not k.startswith(OF_THE_TOOLS)},
        "working directory": str(Path.cwd()),
        "default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "process group": dist.is_available() and dist.is_initialized(),
        "numpy errors": np.geterr(),
        "log level": logging.getLogger("acs_fast").level,
        "log handlers": list(logging.getLogger("acs_fast").handlers),
    }


@pytest.fixture(autouse=True)
def _leaves_no_trace():
    before = state_of_the_process()
    yield
    after = state_of_the_process()
    changed = [
        f"{name}: {before.get(name)!r} became {after.get(name)!r}"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]
    torch.set_num_threads(before["torch threads"])
    assert not changed, f"the test left something behind: {'; '.join(changed)}"
