"""The device, by the command line's choice."""

from __future__ import annotations

import torch


def device_of(name: str | None) -> torch.device:
    """The device by its name, by default CUDA where there is one.

    Raises:
        RuntimeError: no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(f"--device {name}: torch sees no CUDA device here")
    return device
