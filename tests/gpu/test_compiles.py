"""Everything that a GPU would run compiles for sm_80 and sm_90 on a machine that has none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.gpu.requirements import ROOT, need_tool, need_triton

SOURCES = sorted((ROOT / "csrc/cuda").glob("*.cu"))


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.name)
def test_cuda_without_spills(tmp_path, source, arch):
    nvcc = need_tool("cuda", "nvcc")
    target = f"-gencode=arch=compute_{arch},code=sm_{arch}"
    report = subprocess.run(
        [nvcc, "-O3", "-std=c++17", target, "-Xptxas", "-v", "-c", str(source), "-o", str(tmp_path / "o")],
        capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", report)
    assert spills
    assert all(set(kernel) == {"0"} for kernel in spills), report


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
    subprocess.run([compiler, *flags, str(ROOT / "csrc/cuda/bindings.cpp")], check=True)


@pytest.mark.parametrize("arch", [80, 90])
def test_triton_to_cubins(arch):
    need_triton()
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    program = [sys.executable, "-W", "ignore", "-m", "tests.gpu.compile_kernels", str(arch)]
    found = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    usage = json.loads(found.stdout)
    spilling = {name: u for name, u in usage.items() if u["stack_bytes"] > 16}
    assert not spilling


def test_every_triton_kernel_is_compiled():
    need_triton()
    here = Path(__file__).parent
    folders = (ROOT / "acs_fast/ops/triton", ROOT / "acs_fast/residuals")
    names = {
        n for folder in folders for p in folder.glob("*.py") for n in re.findall(r"def (\w+_kernel)\(", p.read_text())
    }
    compiled = set(re.findall(r"\.(\w+_kernel),", (here / "compile_kernels.py").read_text()))
    assert names == compiled
