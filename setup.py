"""Build script; everything declarative is in pyproject.toml.

ACS_FAST_BUILD = auto | none | cpu | cuda decides what is compiled into acs_fast._C. `auto` takes what the machine
offers and prints one reason for what it leaves out; the others are orders and fail loudly.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
CHOICES = ("auto", "none", "cpu", "cuda")
ARCHITECTURES = "8.0;9.0+PTX"  # unless TORCH_CUDA_ARCH_LIST says otherwise


def sources(*parts: str) -> list[str]:
    """The C++ and CUDA files of the module itself and of parts of csrc, relative to the root."""
    found = list((ROOT / "csrc").glob("*.cpp"))
    for part in parts:
        found += [p for p in (ROOT / "csrc" / part).glob("*") if p.suffix in (".cpp", ".cu")]
    return [str(p.relative_to(ROOT)) for p in sorted(found)]


def why_not_cuda() -> str | None:
    """None when CUDA kernels can be compiled here, else the reason why not."""
    import torch
    from torch.utils import cpp_extension

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    if cpp_extension.CUDA_HOME is None or not Path(cpp_extension.CUDA_HOME, "bin", "nvcc").exists():
        return "no CUDA toolkit (nvcc) was found; set CUDA_HOME"
    return None


def what_to_build(choice: str) -> tuple[str | None, str | None]:
    """What to compile ("cpu", "cuda" or None), and why it is less than everything."""
    if choice not in CHOICES:
        raise SystemExit(f"ACS_FAST_BUILD must be one of {', '.join(CHOICES)}; got {choice!r}")
    if choice == "none":
        return None, "ACS_FAST_BUILD=none"
    try:
        import torch  # noqa: F401
    except ImportError as error:
        reason = f"torch cannot be imported at build time ({error}); install it first, then --no-build-isolation"
        if choice == "auto":
            return None, reason
        raise SystemExit(f"ACS_FAST_BUILD={choice}: {reason}") from error
    reason = why_not_cuda()
    if choice == "cuda" and reason is not None:
        raise SystemExit(f"ACS_FAST_BUILD=cuda: {reason}")
    if choice in ("auto", "cuda") and reason is None:
        return "cuda", None
    if choice == "auto" and shutil.which(os.environ.get("CXX", "c++")) is None:
        return None, "no C++ compiler was found"
    return "cpu", reason if choice == "auto" else None


def extensions() -> tuple[list, dict]:
    build, reason = what_to_build(os.environ.get("ACS_FAST_BUILD", "auto"))
    if build != "cuda" and not sources("cpu"):
        build = None
    if reason is not None:
        print(f"acs_fast: building {build or 'no compiled module'}: {reason}")
    if build is None:
        return [], {}
    import torch
    from torch.utils import cpp_extension

    (ROOT / "acs_fast" / "_build.py").write_text(f'TORCH_VERSION = "{torch.__version__}"\n')
    flags = {"cxx": ["-O3", "-std=c++20", "-fopenmp"]}
    extension, files = cpp_extension.CppExtension, sources("cpu")
    if build == "cuda":
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", ARCHITECTURES)
        flags["nvcc"] = ["-O3", "-std=c++20"]
        extension, files = cpp_extension.CUDAExtension, sources("cpu", "cuda")
    module = extension("acs_fast._C", files, extra_compile_args=flags, extra_link_args=["-fopenmp"])
    return [module], {"build_ext": cpp_extension.BuildExtension}


modules, commands = extensions()
setup(ext_modules=modules, cmdclass=commands)
