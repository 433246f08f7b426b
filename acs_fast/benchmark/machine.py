"""Machine, versions and commit of a run."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from acs_fast._version import __version__
from acs_fast.ops import compiled

GENERATED = ("benchmarks/results", "README.md", "docs")  # what a run or a report writes does not make its tree dirty
LIMITING = (  # variables that hold us, torch, MKL, oneDNN, OpenBLAS or numba to older instructions than there are
    "ACS_FAST_SIMD", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE",
    "NUMBA_CPU_NAME",
)  # fmt: skip


def stamp(root: Path | None = None, packages: Iterable[str] = ()) -> dict[str, Any]:
    """What every results file says of itself: date, machine, versions, and the commit of the checkout at `root`."""
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"date": date, "machine": machine(), "versions": versions(packages), "commit": commit(root)}


def machine() -> dict[str, Any]:
    gpu = None
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        gpu = {"name": properties.name, "memory_gib": round(properties.total_memory / 2**30, 1)}
    posix = hasattr(os, "sysconf")
    return {
        "cpu": _cpu_name() or platform.processor() or platform.machine(),
        "simd": torch.backends.cpu.get_cpu_capability(),
        "held_by": {name: os.environ[name] for name in LIMITING if name in os.environ},
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1) if posix else None,
        "gpu": gpu,
        "system": platform.system(),
        "load_at_start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions(packages: Iterable[str] = ()) -> dict[str, Any]:
    """Versions of everything that takes part; packages that are not installed are left out."""
    found = {name: version(name) for name in ("numpy", "scipy", "triton", *sorted(set(packages)))}
    info = compiled.MODULE.build_info() if compiled.MODULE is not None else None
    return {
        "acs_fast": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        **{name: number for name, number in found.items() if number},
        "build": None if info is None else {key: str(value) for key, value in info.items()},
    }


def version(name: str) -> str | None:
    """Version of a package; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def commit(root: Path | None) -> dict[str, Any]:
    """The commit of a checkout, its date, and whether anything but generated files differs from it.

    ACS_FAST_COMMIT names it where the files are there without git.
    """
    found = os.environ.get("ACS_FAST_COMMIT") or (_git(root, "log", "-1", "--format=%h %cs") if root else "")
    sha, _, date = (found or "unknown unknown").partition(" ")
    exclude = [f":(exclude){path}" for path in GENERATED]
    return {"sha": sha, "date": date, "dirty": bool(root and _git(root, "status", "--porcelain", "--", ".", *exclude))}


def _cpu_name() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
