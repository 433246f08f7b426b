"""The choice of an operator's implementation: `auto` is the torch dispatcher's, a name is an order."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import torch

from acs_fast._util.checks import check_choice
from acs_fast._util.memory import peak_memory
from acs_fast._util.precision import full_precision
from acs_fast.ops import compiled, cpu, device
from acs_fast.ops.checks import checked
from acs_fast.ops.report import Report, taking_notes
from acs_fast.ops.schemas import LIBRARY, REFERENCE
from acs_fast.ops.toolchain import why_no_triton

LOGGER = logging.getLogger("acs_fast")
BACKENDS = ("auto", "reference", "cpu", "triton", "cuda")
ON_GPU = {  # what each GPU backend has its own kernels for
    "triton": (
        "pairwise_distances", "greedy", "facility_location", "gradient_matching", "cross_entropy_residuals",
        "trades_residuals",
    ),
    "cuda": ("greedy", "facility_location"),
}  # fmt: skip


def why_missing(backend: str) -> str | None:
    """None when the backend can run here, else the reason why it cannot."""
    if backend in ("auto", "reference"):
        return None
    if backend == "cpu":
        return compiled.why_missing("cpu")
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no GPU"
    if backend == "triton" and not device.has_triton():
        return "triton is not installed; pip install triton"
    if backend == "cuda" and torch.version.hip:
        return f"torch {torch.__version__} is built for AMD GPUs and the CUDA kernels are for NVIDIA's; use triton"
    return compiled.why_missing("cuda") if backend == "cuda" else None


def chosen(op: str, backend: str, where: torch.device) -> str:
    """The backend for `op` on the device `where`.

    Raises:
        ValueError: unknown name, or a backend for another device.
        RuntimeError: the backend is not available here; says why.
    """
    check_choice("backend", backend, BACKENDS)
    if backend == "auto":
        return _automatic(op, where)
    reason = why_missing(backend)
    if reason is not None:
        raise RuntimeError(f"backend {backend!r} is not available: {reason}")
    if backend == "cpu" and where.type != "cpu":
        raise ValueError(f"backend 'cpu' needs tensors on the CPU; got {where}")
    if backend in ON_GPU and where.type != "cuda":
        raise ValueError(f"backend {backend!r} needs tensors on a GPU; got {where}")
    if op not in ON_GPU.get(backend, (op,)):
        raise RuntimeError(f"backend {backend!r} is not available: {op} has no {backend} kernels")
    if backend == "triton" and (reason := why_no_triton(op, where)) is not None:
        raise RuntimeError(f"backend {backend!r} is not available: {reason}")
    return backend


def _automatic(op: str, where: torch.device) -> str:
    if where.type == "cuda":
        found = device.automatic(op, where)
        return "cuda" if "cuda" in found else "triton" if "triton" in found else "reference"
    if where.type == "cpu" and op in cpu.IMPLEMENTATIONS:
        if compiled.MODULE is not None:
            return "cpu"
        _warn_of_reference()
    return "reference"


@cache
def _warn_of_reference() -> None:
    LOGGER.warning("selection runs on the slow reference path: %s", compiled.why_missing("cpu"))


def explain(op: str, name: str, where: torch.device, dtype: torch.dtype = torch.float32) -> str:
    """One line on what `name`, as `chosen` has returned it, runs for `op`, and what is missing for more."""
    if where.type != "cuda":
        return name
    if name == "reference":
        too_old = why_no_triton(op, where) if device.has_triton() else None
        return name if too_old is None else f"{name}; triton: {too_old}"
    if op == "gradient_matching":
        return "matching by triton, all groups together"
    if op not in ("greedy", "facility_location"):
        return name
    missing = [f"{b}: {why}" for b in ON_GPU if (why := why_missing(b)) is not None]
    return "; ".join([str(device.kernels(dtype, name)), *missing])


def run(op: str, backend: str, *args: Any) -> tuple[Any, Report]:
    """Run an operator.

    Args:
        op: its name.
        backend: "auto" or a name; see `chosen`.
        args: those of the operator.

    Returns:
        its values and the report.
    """
    like = next(x for x in args if isinstance(x, torch.Tensor))
    name = chosen(op, backend, like.device)
    if name == "reference":
        implementation = checked(op, REFERENCE[op])
    elif name in device.IMPLEMENTATIONS.get(op, {}):
        implementation = checked(op, device.IMPLEMENTATIONS[op][name])
    else:
        implementation = getattr(torch.ops.acs_fast, op)
    with peak_memory(like.device) as peak, taking_notes(like.device) as notes, full_precision(like.device.type):
        values = implementation(*args)
    kernels = explain(op, name, like.device, like.dtype)
    bytes_ = peak.get("bytes", notes.matrix_bytes)
    return values, Report(name, kernels, notes.path, notes.watch.seconds(), bytes_)


device.register(LIBRARY)
