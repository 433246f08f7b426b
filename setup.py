"""Build script: the compiled module `acs_fast._C`, by ninja. Everything declarative is in pyproject.toml.

ACS_FAST_BUILD     auto (default): compile what this machine can, and say what it cannot; none: pure Python;
                   cpu, cuda: compile exactly that, and fail where it is not possible.
ACS_FAST_NATIVE    1: compile for this processor only (by default the best instruction set is chosen at run time).
ACS_FAST_SANITIZE  1: with AddressSanitizer and UndefinedBehaviorSanitizer.
ACS_FAST_CUDA_ARCHITECTURES  of NVIDIA GPUs, as in "80;90" (the default); the newest also as PTX.
CXX, CXXFLAGS, LDFLAGS, CUDA_HOME as usual.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
BUILDS = ("auto", "none", "cpu", "cuda")
WINDOWS, MACOS = sys.platform == "win32", sys.platform == "darwin"


class BuildError(Exception):
    """Why something cannot be compiled here, in one line; `output` is what the compiler said."""

    def __init__(self, reason: str, output: str = "") -> None:
        super().__init__(reason)
        self.output = output


class Toolchain(NamedTuple):
    """Compilers, and where the CUDA toolkit is, if it is used."""

    cxx: list[str]
    cuda: Path | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        return ("cpu",) if self.cuda is None else ("cpu", "cuda")


def flag(name: str) -> bool:
    return os.environ.get(name, "0") not in ("", "0")


def choice() -> str:
    chosen = os.environ.get("ACS_FAST_BUILD", "auto")
    if chosen not in BUILDS:
        raise SystemExit(f"ACS_FAST_BUILD must be one of {', '.join(BUILDS)}; got {chosen!r}")
    return chosen


def find_compiler() -> list[str]:
    if WINDOWS:
        raise BuildError("the kernels are written for GCC and Clang, not for Windows' compiler")
    wanted = os.environ.get("CXX", "").split() or [next(filter(shutil.which, ("c++", "g++", "clang++")), "c++")]
    if shutil.which(wanted[0]) is None:
        raise BuildError(f"there is no C++ compiler ({wanted[0]} not found); install one or set CXX")
    return wanted


def find_cuda() -> Path:
    """The root of the CUDA toolkit."""
    named = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    nvcc = shutil.which("nvcc")
    places = [named, nvcc and Path(nvcc).resolve().parents[1], "/usr/local/cuda"]
    for root in (Path(place) for place in places if place):
        if (root / "bin" / "nvcc").exists() and (root / "include" / "cuda_runtime_api.h").exists():
            return root
    raise BuildError("there is no CUDA toolkit (nvcc not found; set CUDA_HOME)")


class NinjaFile:
    """A build.ninja that compiles every source to an object and links them to one module."""

    def __init__(self, tools: Toolchain, folder: Path, module: Path) -> None:
        import pybind11

        self.tools, self.folder, self.module = tools, folder, module
        self.includes = [sysconfig.get_path("include"), sysconfig.get_path("platinclude"), pybind11.get_include()]

    def cxx_flags(self) -> list[str]:
        flags = ["-O3", "-std=c++20", "-fPIC", "-fno-math-errno", "-ffp-contract=off", "-fvisibility=hidden", "-Wall"]
        flags += ["-Wno-psabi", "-pthread"]
        if flag("ACS_FAST_NATIVE"):
            flags.append("-march=native")
        if flag("ACS_FAST_SANITIZE"):
            flags += ["-O1", "-g", "-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
            flags.append("-fno-sanitize-recover=all")
        return [*flags, *os.environ.get("CXXFLAGS", "").split()]

    def nvcc_flags(self) -> list[str]:
        numbers = os.environ.get("ACS_FAST_CUDA_ARCHITECTURES", "80;90").replace(".", "").split(";")
        targets = [f"-gencode=arch=compute_{n},code=sm_{n}" for n in numbers]
        targets.append(f"-gencode=arch=compute_{numbers[-1]},code=compute_{numbers[-1]}")
        return ["-O3", "-std=c++17", "-Xcompiler=-fPIC,-fvisibility=hidden", f"-ccbin={self.tools.cxx[0]}", *targets]

    def link_flags(self) -> list[str]:
        flags = ["-bundle", "-undefined", "dynamic_lookup"] if MACOS else ["-shared", "-pthread"]
        if flag("ACS_FAST_SANITIZE"):
            flags.append("-fsanitize=address,undefined")
        if self.tools.cuda is not None:
            libraries = [p for p in (self.tools.cuda / "lib64", self.tools.cuda / "lib") if p.exists()]
            flags += [*(f"-L{p}" for p in libraries), "-lcudart_static", "-lrt", "-ldl"]
        return [*flags, *os.environ.get("LDFLAGS", "").split()]

    def sources(self) -> list[Path]:
        folders = [ROOT / "csrc", *(ROOT / "csrc" / part for part in self.tools.parts)]
        return sorted(p for folder in folders for p in folder.iterdir() if p.suffix in (".cpp", ".cu"))

    def write(self) -> None:
        from ninja.ninja_syntax import Writer

        self.folder.mkdir(parents=True, exist_ok=True)
        flags = self.cxx_flags()
        defines = [f"'-DACS_FAST_FLAGS=\"{' '.join(flags)}\"'"]
        includes = [f"-isystem {path}" for path in dict.fromkeys(self.includes)]
        if self.tools.cuda is not None:
            defines.append("-DACS_FAST_CUDA")
            includes.append(f"-isystem {self.tools.cuda / 'include'}")
        compiler = [*self.tools.cxx, *flags, *defines, *includes]
        with (self.folder / "build.ninja").open("w") as file:
            ninja = Writer(file, width=120)
            ninja.rule("cxx", f"{' '.join(compiler)} -MMD -MF $out.d -c $in -o $out", depfile="$out.d", deps="gcc")
            if self.tools.cuda is not None:
                nvcc = [str(self.tools.cuda / "bin" / "nvcc"), *self.nvcc_flags()]
                ninja.rule("nvcc", f"{' '.join(nvcc)} -MD -MF $out.d -c $in -o $out", depfile="$out.d", deps="gcc")
            ninja.rule("link", f"{' '.join(self.tools.cxx)} $in -o $out {' '.join(self.link_flags())}")
            objects = []
            for source in self.sources():
                objects.append(str(source.relative_to(ROOT)) + ".o")
                ninja.build(objects[-1], "nvcc" if source.suffix == ".cu" else "cxx", str(source))
            ninja.build(str(self.module), "link", objects)

    def run(self) -> None:
        """Compile.

        Raises:
            BuildError: with the compiler's words.
        """
        import ninja

        program = Path(ninja.BIN_DIR) / "ninja"
        done = subprocess.run([program, "-C", self.folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            said = [line for line in done.stdout.splitlines() if "error" in line.lower()]
            raise BuildError(f"the compiler failed: {said[0].strip() if said else 'no message'}", done.stdout)


class BuildNative(build_ext):
    """Compiles the parts that ACS_FAST_BUILD asks for, and records in acs_fast/_build.py what is missing and why."""

    def build_extension(self, ext: Extension) -> None:
        module = Path(self.get_ext_fullpath(ext.name)).absolute()
        missing: dict[str, str] = {}
        parts = self._compile(module, missing)
        for part, reason in missing.items():
            if part == "cpu":
                print(f"acs_fast: installing without compiled kernels: {reason}", file=sys.stderr)
        self._record(module.with_name("_build.py"), parts, missing)

    def copy_extensions_to_source(self) -> None:
        super().copy_extensions_to_source()
        shutil.copy(Path(self.build_lib) / "acs_fast" / "_build.py", ROOT / "acs_fast" / "_build.py")

    def _compile(self, module: Path, missing: dict[str, str]) -> tuple[str, ...]:
        """The parts compiled into `module`; reasons why others were not go into `missing`."""
        wanted = choice()
        for part in ("cuda", "cpu"):
            if wanted == "cpu" and part == "cuda":
                missing["cuda"] = "it was installed with ACS_FAST_BUILD=cpu"
                continue
            try:
                tools = Toolchain(find_compiler(), find_cuda() if part == "cuda" else None)
                file = NinjaFile(tools, Path(self.build_temp).absolute() / "-".join(tools.parts), module)
                file.write()
                file.run()
                return tools.parts
            except BuildError as error:
                if wanted == part:
                    raise SystemExit(f"{error.output}\nACS_FAST_BUILD={wanted}: {error}") from error
                missing[part] = str(error)
        return ()

    def _record(self, path: Path, parts: tuple[str, ...], missing: dict[str, str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'"""Written by setup.py."""\n\nPARTS = {parts!r}\nMISSING: dict[str, str] = {missing!r}\n')


class BuildPython(build_py):
    """Leaves out what an earlier build has recorded in the source tree."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        modules: list[tuple[str, str, str]] = super().find_package_modules(package, package_dir)
        return [module for module in modules if module[1] != "_build"]


def extensions() -> list[Extension]:
    if choice() == "none" or (WINDOWS and choice() == "auto"):
        return []
    return [Extension("acs_fast._C", sources=[], optional=choice() == "auto")]


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildNative, "build_py": BuildPython})
