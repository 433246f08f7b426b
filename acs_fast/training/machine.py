"""Machine and versions behind measured figures."""

from __future__ import annotations

import platform
import sys
from typing import Any

import torch

from acs_fast._version import __version__


def machine_and_versions(device: torch.device) -> dict[str, Any]:
    """Processor, device and versions, for a file of results."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "machine": {
            "processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads(),
            "device": str(device), "device_name": name,
        },
        "versions": {
            "acs_fast": __version__, "torch": torch.__version__, "python": sys.version.split()[0],
        },
    }  # fmt: skip
