"""What this machine has of what the other steps need: `python -m benchmarks.gpu.probe`; fails where they cannot run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

MODULES = ("torch", "triton", "pytest", "numpy", "setuptools", "pybind11", "ninja", "xdist")
NEEDED = {"torch", "triton", "pytest", "numpy", "setuptools", "nvcc", "c++", "a GPU", "cuda_runtime.h"}
TOOLS = ("nvcc", "c++", "ninja", "git", "compute-sanitizer", "ncu", "nvidia-smi")
HEADERS = ("cuda_runtime.h", "cooperative_groups.h")


def found() -> dict[str, str]:
    """Where each of them is; empty for what is not there."""
    result = {name: str(importlib.util.find_spec(name) is not None or "") for name in MODULES}
    result.update({name: shutil.which(name) or shutil.which(name, path="/usr/local/cuda/bin") or "" for name in TOOLS})
    toolkits = [os.environ.get("CUDA_HOME", ""), "/usr/local/cuda"]
    if result["nvcc"]:
        toolkits.insert(0, str(Path(result["nvcc"]).resolve().parents[1]))
    for header in HEADERS:
        places = [Path(toolkit) / "include" / header for toolkit in toolkits if toolkit]
        result[header] = next((str(p) for p in places if p.exists()), "")
    result["a GPU"] = _gpu(result["nvidia-smi"])
    return result


def _gpu(nvidia_smi: str) -> str:
    if not nvidia_smi:
        return ""
    query = "--query-gpu=name,driver_version,clocks.max.sm,memory.total,power.limit"
    asked = subprocess.run([nvidia_smi, query, "--format=csv,noheader"], capture_output=True, text=True)
    return asked.stdout.strip() if asked.returncode == 0 else ""


def main() -> int:
    result = found()
    for name, where in result.items():
        print(f"{name:<20} {where or ('MISSING' if name in NEEDED else 'not there')}")
    if result["torch"]:
        import torch

        print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, {sys.version.split()[0]}")
    return 0 if all(result[name] for name in NEEDED) else 1


if __name__ == "__main__":
    sys.exit(main())
