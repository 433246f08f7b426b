"""Threads that the machine does not give."""

import os
import subprocess
import sys

import pytest

from acs_fast.testing import require_backend

# Stacks of 1 GiB, and address space for four of them
SCRIPT = """
import os, resource, sys
if len(sys.argv) == 1:
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 30, resource.RLIM_INFINITY))
    os.execv(sys.executable, [sys.executable, "-c", sys.orig_argv[2], "again"])
import torch
import acs_fast
g = acs_fast.LastLayerGradients(torch.randn(600, 10), torch.randn(600, 32))
expected = acs_fast.facility_location(g, 60, backend="cpu").indices
torch.set_num_threads(16)  # threads of torch's own
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (4 << 30), resource.RLIM_INFINITY))
for _ in range(3):
    try:
        acs_fast.facility_location(g, 60, backend="cpu")
    except RuntimeError as error:
        print(error)
torch.set_num_threads(1)
print(torch.equal(acs_fast.facility_location(g, 60, backend="cpu").indices, expected))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")
def test_too_many_threads_are_an_error():
    require_backend("cpu")
    environment = {**os.environ, "OMP_STACKSIZE": "1M", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "cannot start 16 threads here; ask for fewer with torch.set_num_threads\n" * 3 + "True\n"
