"""Which implementation runs an operator: `auto` is the torch dispatcher's choice, a name is an order."""

from __future__ import annotations

from typing import Any

import torch

from acs_fast.checks import check_choice
from acs_fast.ops import compiled, stages
from acs_fast.ops.schemas import REFERENCE

BACKENDS = ("auto", "reference", "cpu", "triton", "cuda")


def why_missing(backend: str) -> str | None:
    """None when the backend can run here, else the reason why it cannot."""
    if backend in ("auto", "reference"):
        return None
    if backend == "cpu":
        return (
            None
            if compiled.MODULE is not None
            else (
                "acs_fast was installed without its compiled module (acs_fast._C); reinstall with a C++ compiler and "
                "ACS_FAST_BUILD=cpu"
            )
        )
    return f"acs_fast has no {backend} kernels in this version"


def chosen(op: str, backend: str, device: torch.device) -> str:
    """The backend that will run `op` on `device`.

    Raises:
        ValueError: unknown name, or a backend for another device.
        RuntimeError: the backend is not available here; says why.
    """
    check_choice("backend", backend, BACKENDS)
    if backend == "auto":
        key = {"cpu": "CPU", "cuda": "CUDA"}.get(device.type, device.type.upper())
        kernel = torch._C._dispatch_has_kernel_for_dispatch_key(f"acs_fast::{op}", key)
        return device.type if kernel else "reference"
    reason = why_missing(backend)
    if reason is not None:
        raise RuntimeError(f"backend {backend!r} is not available: {reason}")
    if backend == "cpu" and device.type != "cpu":
        raise ValueError(f"backend 'cpu' needs tensors on the CPU; got {device}")
    return backend


def run(op: str, backend: str, *args: Any, seconds: dict[str, float] | None = None) -> Any:
    """Run an operator on a backend that `chosen` has returned, and add its seconds by stage to `seconds`."""
    implementation = REFERENCE[op] if backend == "reference" else getattr(torch.ops.acs_fast, op)
    device = next(x.device.type for x in args if isinstance(x, torch.Tensor))
    _take_seconds()
    with torch.autocast(device, enabled=False):  # distances in bfloat16 are not the same distances
        result = implementation(*args)
    for stage, spent in _take_seconds().items():
        if seconds is not None:
            seconds[stage] = seconds.get(stage, 0.0) + spent
    return result


def _take_seconds() -> dict[str, float]:
    taken = stages.take_seconds()
    if compiled.MODULE is not None:
        taken.update(compiled.MODULE.take_seconds())
    return taken
