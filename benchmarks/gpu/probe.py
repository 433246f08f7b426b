"""What this machine has of what the other steps need: `python -m benchmarks.gpu.probe`; fails where they cannot run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

MODULES = ("torch", "triton", "pytest", "numpy", "setuptools", "pybind11", "ninja", "xdist")
TOOLS = ("nvcc", "c++", "git", "compute-sanitizer", "ncu", "nvidia-smi")
HEADERS = ("cuda_runtime.h", "cooperative_groups.h")
NEEDED = {  # and what to do where they are missing
    "torch": "pip install torch, built for CUDA",
    "triton": "pip install triton",
    "pytest": "pip install pytest",
    "numpy": "pip install numpy",
    "setuptools": "pip install 'setuptools>=77'; setup.py imports it",
    "pybind11": "pip install 'pybind11>=2.13'; setup.py imports it",
    "ninja": "pip install 'ninja>=1.11'; setup.py imports the Python package, the program alone does not do",
    "nvcc": "install the CUDA toolkit, or set CUDA_HOME to where it is",
    "c++": "install g++ or clang++",
    "a GPU": "nvidia-smi must name one; see that the driver is there",
    "cuda_runtime.h": "install the headers of the CUDA toolkit, or set CUDA_HOME to where they are",
}


def path_of(tool: str) -> str:
    """Where a program is: in PATH, or among those of a CUDA toolkit; "" where it is not."""
    folders = [str(Path(root) / "bin") for root in (os.environ.get("CUDA_HOME"), "/usr/local/cuda") if root]
    return shutil.which(tool) or shutil.which(tool, path=os.pathsep.join(folders)) or ""


def found() -> dict[str, str]:
    """Where each of them is; empty for what is not there."""
    result = {name: str(importlib.util.find_spec(name) is not None or "") for name in MODULES}
    result.update({name: path_of(name) for name in TOOLS})
    toolkits = [os.environ.get("CUDA_HOME", ""), "/usr/local/cuda"]
    if result["nvcc"]:
        toolkits.insert(0, str(Path(result["nvcc"]).resolve().parents[1]))
    for header in HEADERS:
        places = [Path(toolkit) / "include" / header for toolkit in toolkits if toolkit]
        result[header] = next((str(p) for p in places if p.exists()), "")
    result["a GPU"] = _asked("name,driver_version,clocks.max.sm,memory.total,power.limit")
    return result


def architectures() -> str:
    """Of the GPUs here, as setup.py takes them: "9.0", or "8.0;9.0"; "" where nvidia-smi does not say."""
    return ";".join(sorted(set(_asked("compute_cap").split())))


def _asked(query: str) -> str:
    """What nvidia-smi says of the GPUs; "" where there is none."""
    try:
        command = [path_of("nvidia-smi") or "nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""


def main() -> int:
    result = found()
    for name, where in result.items():
        missing = f"MISSING: {NEEDED[name]}" if name in NEEDED else "not there"
        print(f"{name:<20} {where or missing}")
    if result["torch"]:
        import torch

        print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, {sys.version.split()[0]}")
    return 0 if all(result[name] for name in NEEDED) else 1


if __name__ == "__main__":
    sys.exit(main())
