"""Where and with what a run was made: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import acs_fast
from acs_fast.ops import compiled
from benchmarks.peers import OPPONENTS

ROOT = Path(__file__).resolve().parent.parent
GENERATED = ("benchmarks/results", "README.md")  # what a run writes does not make its tree dirty


def machine() -> dict[str, Any]:
    gpu = None
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        gpu = {"name": properties.name, "memory_gib": round(properties.total_memory / 2**30, 1)}
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "simd": torch.backends.cpu.get_cpu_capability(),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": gpu,
        "system": platform.system(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, Any]:
    names = sorted({package for opponent in OPPONENTS.values() for package in opponent.packages})
    found = {name: version(name) for name in ("numpy", "scipy", "triton", *names)}
    return {
        "acs_fast": acs_fast.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        **{name: version for name, version in found.items() if version},
        "build": _build_info(),
    }


def commit() -> dict[str, Any]:
    """The commit, its date, and whether anything but generated files differs from it."""
    sha, _, date = (_git("log", "-1", "--format=%h %cs") or "unknown unknown").partition(" ")
    exclude = [f":(exclude){path}" for path in GENERATED]
    return {"sha": sha, "date": date, "dirty": bool(_git("status", "--porcelain", "--", ".", *exclude))}


def _build_info() -> Any:
    if compiled.MODULE is None or not hasattr(compiled.MODULE, "build_info"):
        return None
    info = compiled.MODULE.build_info()
    return {k: str(v) for k, v in info.items()} if isinstance(info, dict) else str(info)


def version(name: str) -> str | None:
    """Of an installed package; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _field(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), None)


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
