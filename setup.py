"""Build script: the compiled module `acs_fast._C`. Everything declarative is in pyproject.toml.

ACS_FAST_BUILD   auto (default): compile what this machine can, and say what it cannot; none: pure Python;
                 cpu, cuda: compile exactly that, and fail where it is not possible.
ACS_FAST_NATIVE  1: compile for this processor only (by default the best instruction set is chosen at run time).
ACS_FAST_SANITIZE  1: with AddressSanitizer and UndefinedBehaviorSanitizer.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

from setuptools import setup

ROOT = Path(__file__).parent
BUILDS = ("auto", "none", "cpu", "cuda")
COMMANDS = {"build", "build_ext", "bdist_wheel", "editable_wheel", "install", "develop"}  # those that compile
os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])  # ninja lives there
ARCHITECTURES = "8.0;9.0+PTX"  # of NVIDIA GPUs, unless TORCH_CUDA_ARCH_LIST says otherwise


def flag(name: str) -> bool:
    return os.environ.get(name, "0") not in ("", "0")


def why_not_cpu() -> str | None:
    """None when the C++ sources can be compiled here, else the reason why not."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return (
            "torch cannot be imported while building; install torch first, then use `pip install --no-build-isolation`"
        )
    compilers = (os.environ.get("CXX", "c++").split()[0], "g++", "clang++")
    if not any(map(shutil.which, compilers)):
        return f"there is no C++ compiler ({', '.join(compilers)} not found); install one or set CXX"
    return None


def why_not_cuda() -> str | None:
    """None when the CUDA sources can be compiled here, else the reason why not."""
    if not list((ROOT / "csrc" / "cuda").glob("*.cu")):
        return "this version has no CUDA sources"
    reason = why_not_cpu()
    if reason is not None:
        return reason
    import torch
    from torch.utils.cpp_extension import CUDA_HOME

    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    return None if CUDA_HOME else "there is no CUDA toolkit (nvcc not found; set CUDA_HOME)"


def what_to_build() -> list[str]:
    """The parts to compile, out of cpu and cuda.

    Raises:
        SystemExit: an explicitly chosen part cannot be compiled here.
    """
    choice = os.environ.get("ACS_FAST_BUILD", "auto")
    if choice not in BUILDS:
        raise SystemExit(f"ACS_FAST_BUILD must be one of {', '.join(BUILDS)}; got {choice!r}")
    if choice == "none":
        return []
    reasons = {"cpu": why_not_cpu(), "cuda": why_not_cuda()}
    if choice != "auto" and reasons[choice] is not None:
        raise SystemExit(f"ACS_FAST_BUILD={choice}: {reasons[choice]}")
    if choice == "auto" and reasons["cpu"] is not None:
        if COMMANDS.intersection(sys.argv):
            print(f"acs_fast: installing without compiled kernels: {reasons['cpu']}", file=sys.stderr)
        return []
    return [part for part in ("cpu", "cuda") if reasons[part] is None and (part == "cpu" or choice != "cpu")]


def compile_flags() -> list[str]:
    flags = ["-O3", "-std=c++20", "-fno-math-errno", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wno-psabi"]
    if flag("ACS_FAST_NATIVE"):
        flags.append("-march=native")
    if flag("ACS_FAST_SANITIZE"):
        flags += ["-O1", "-g", "-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"]
    return flags


def extension(parts: list[str]) -> Any:
    from torch.utils.cpp_extension import CppExtension, CUDAExtension

    sources = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "csrc" / "cpu").glob("*.cpp"))
    flags = compile_flags()
    options: dict[str, Any] = {"cxx": [*flags, f'-DACS_FAST_FLAGS="{" ".join(flags)}"']}
    if "cuda" in parts:
        files = (ROOT / "csrc" / "cuda").glob("*")
        sources += sorted(str(p.relative_to(ROOT)) for p in files if p.suffix in (".cpp", ".cu"))
        options["nvcc"] = ["-O3", "-std=c++20"]
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", ARCHITECTURES)
    link = ["-fsanitize=address,undefined"] if flag("ACS_FAST_SANITIZE") else []
    kind = CUDAExtension if "cuda" in parts else CppExtension
    return kind("acs_fast._C", sources, extra_compile_args=options, extra_link_args=link)


def record_build(parts: list[str]) -> None:
    """Write acs_fast/_build.py, which tells what the compiled module was built against even if it cannot load."""
    import torch

    text = f'"""Written by setup.py."""\n\nTORCH_VERSION = "{torch.__version__}"\nPARTS = {tuple(parts)!r}\n'
    (ROOT / "acs_fast" / "_build.py").write_text(text)


def arguments() -> dict[str, Any]:
    parts = what_to_build()
    if not parts:
        return {}
    from torch.utils.cpp_extension import BuildExtension

    record_build(parts)
    ninja = shutil.which("ninja") is not None
    return {"ext_modules": [extension(parts)], "cmdclass": {"build_ext": BuildExtension.with_options(use_ninja=ninja)}}


setup(**arguments())
