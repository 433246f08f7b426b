"""Memory of a selection: the allowance, and the peak."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from acs_fast._util.checks import check_count

SHARE = 0.5  # of the free memory that one selection may plan for
UNKNOWN_FREE_BYTES = 4 << 30


def workspace_bytes(device: torch.device, memory: int | None = None) -> int:
    """The allowance of a selection on `device` in bytes: `memory`, or else a share of the free memory."""
    if memory is not None:
        return check_count("memory", memory)
    if device.type == "cuda":
        return int(SHARE * torch.cuda.mem_get_info(device)[0])
    return int(SHARE * _free_host_bytes())


def _free_host_bytes() -> int:
    """Available memory of the host, or what the control group leaves of it."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line)
        free = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return UNKNOWN_FREE_BYTES
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        return min(free, max(0, limit - used))
    except (OSError, ValueError):  # no control group, or its limit is "max"
        return free


@contextmanager
def peak_memory(device: torch.device) -> Iterator[dict[str, int]]:
    """Bytes allocated above what was there, where the allocator can tell (CUDA)."""
    found: dict[str, int] = {}
    if device.type != "cuda":
        yield found
        return
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    yield found
    found["bytes"] = torch.cuda.max_memory_allocated(device) - before
