"""Everything that a GPU would run compiles on a machine that has none, to the machine code that was meant."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.gpu.requirements import ENVIRONMENT, ROOT, need_tool, need_triton

OTHER_TRITONS = [*filter(None, os.environ.get("ACS_FAST_TRITONS", "").split(os.pathsep))]  # folders
SOURCES = sorted((ROOT / "csrc/cuda").glob("*.cu"))


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.name)
def test_cuda_without_spills(tmp_path, source, arch):
    nvcc = need_tool("cuda", "nvcc")
    target = f"-gencode=arch=compute_{arch},code=sm_{arch}"
    report = subprocess.run(
        [nvcc, "-O3", "-std=c++17", target, "-Xptxas", "-v", "-c", str(source), "-o", str(tmp_path / "o")],
        capture_output=True, text=True, check=True, env=ENVIRONMENT,
    ).stderr  # fmt: skip
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report)
    assert spills
    assert all(set(kernel) == {"0"} for kernel in spills), report
    assert " smem" not in report, "shared memory beside that of the launch, which may be all there is"


def test_native_sources_include_no_torch_and_no_blas():
    for source in (p for p in (ROOT / "csrc").rglob("*") if p.is_file()):
        included = re.findall(r"#include [<\"]([^>\"]+)[>\"]", source.read_text())
        assert not [name for name in included if re.match(r"torch|ATen|c10|cusparse|cublas", name)], source.name


def test_binding_is_valid_cpp():
    compiler, nvcc = need_tool("cuda", "g++", "c++"), need_tool("cuda", "nvcc")
    toolkits = [Path(p) for p in (os.environ.get("CUDA_HOME", ""), Path(nvcc).resolve().parents[1], "/usr/local/cuda")]
    include = next((p / "include" for p in toolkits if (p / "include/cuda_runtime_api.h").exists()), None)
    if include is None:
        pytest.skip("the CUDA toolkit's headers are not there")
    folders = [pytest.importorskip("pybind11").get_include(), sysconfig.get_path("include"), include]
    flags = ["-std=c++20", "-fsyntax-only", "-Wall", "-Werror", *(f"-isystem{folder}" for folder in folders)]
    subprocess.run([compiler, *flags, str(ROOT / "csrc/cuda/bindings.cpp")], check=True, env=ENVIRONMENT)


def cubins(arch: int, toolchain: str) -> dict[str, dict[str, int]]:
    """What the machine code of every kernel holds, as `compile_kernels` prints it."""
    path = os.pathsep.join(filter(None, (toolchain, os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "TRITON_INTERPRET": "0", "PYTHONPATH": path}
    program = [sys.executable, "-W", "ignore", "-m", "tests.gpu.compile_kernels", str(arch)]
    found = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    usage: dict[str, dict[str, int]] = json.loads(found.stdout)
    return usage


@pytest.mark.parametrize(
    ("arch", "toolchain"),
    [*((arch, "") for arch in (80, 90, 100)), *((90, path) for path in OTHER_TRITONS)],
    ids=lambda x: (Path(x).name or "installed") if isinstance(x, str) else f"sm_{x}",
)
def test_triton_to_cubins(arch, toolchain):
    need_triton()
    assert not toolchain or (Path(toolchain) / "triton").is_dir(), f"no Triton in {toolchain}"
    usage = cubins(arch, toolchain)
    assert not {name: u for name, u in usage.items() if u["stack_bytes"] > 16}, "spilled registers"
    products = {name: u for name, u in usage.items() if name.startswith("distances")}
    assert not {name: u for name, u in products.items() if u["LDG.E.U16"]}, "loads of two bytes in a loop of products"
    assert not {name: u for name, u in products.items() if not u["LDGSTS.E"]}, "loads that do not run ahead"
    matching = {name: u for name, u in usage.items() if name.startswith("matching")}
    assert toolchain or not {name: u for name, u in matching.items() if u["stack_bytes"]}  # older ones spill 8 bytes
    assert not {name: u for name, u in matching.items() if resident_blocks(u) < 2}
    sums = {name: u for name, u in matching.items() if "scores" in name or "directions" in name}
    assert all(u["DMMA"] and u["LDGSTS.E"] for u in sums.values()), "products of float64 outside tensor cores"
    if arch == 90:
        assert all(u["HGMMA"] for name, u in products.items() if "R = 2" not in name and "ieee" not in name)
        wide = [u for name, u in products.items() if "bfloat16, " in name and "classes" in name]
        assert wide
        assert not [u for u in wide if u["LDGSTS.E"] > u["LDGSTS.E.BYPASS.128"]]
    assert all(resident_blocks(u) >= 1 for u in usage.values())


def resident_blocks(usage: dict[str, int]) -> int:
    """How many blocks of a kernel one multiprocessor of an H100 holds."""
    registers = 65536 // (32 * usage["warps"] * ((usage["registers"] + 7) // 8 * 8))
    return min(registers, (228 << 10) // (usage["shared_bytes"] + 1024), 64 // usage["warps"])


def test_every_triton_kernel_is_compiled():
    need_triton()
    here = Path(__file__).parent
    sources = (ROOT / "acs_fast/ops/triton").glob("*.py")
    names = {name for p in sources for name in re.findall(r"def (\w+_kernel)\(", p.read_text())}
    compiled = set(re.findall(r"\.(\w+_kernel),", (here / "compile_kernels.py").read_text()))
    assert names == compiled
