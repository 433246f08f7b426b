"""The abilities of the installed Triton on a GPU."""

from __future__ import annotations

import torch


def triton_version() -> str:
    import triton

    version: str = triton.__version__
    return version


def why_no_triton(op: str, where: torch.device) -> str | None:
    """None when the installed Triton can compile an operator for the GPU `where`, else what that takes."""
    if op != "gradient_matching" or torch.version.hip or torch.cuda.get_device_capability(where)[0] < 10:
        return None
    version = triton_version()  # before 3.8, products of float64 do not compile for Blackwell
    if tuple(map(int, version.split(".")[:2])) >= (3, 8):
        return None
    return f"{op} needs triton >= 3.8 on this GPU, and {version} is installed; pip install --upgrade triton"
