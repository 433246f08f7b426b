"""The device, by the command line's choice."""

from __future__ import annotations

import torch

from acs_fast.training import processes


def device_of(name: str | None) -> torch.device:
    """The device by its name, by default CUDA where there is one; under torchrun "cuda" is the GPU of this process.

    Raises:
        RuntimeError: no such device.
    """
    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(f"--device {name}: torch sees no CUDA device here")
    if device.type == "cuda" and device.index is None and processes.started_by_torchrun():
        return torch.device("cuda", processes.local_rank())
    return device
