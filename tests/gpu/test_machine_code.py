"""The CUDA greedy's machine code: what its predicted times count on, read with the disassembler of the Triton wheel."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.gpu.requirements import ENVIRONMENT, ROOT, need_tool, need_triton

KERNELS = {"float, large groups": "IfLi512", "float, small groups": "IfLi256", "double, large groups": "IdLi512"}
DISTANCES_AT_ONCE = 8  # kLoads in greedy_gains.cuh
MOST_INSTRUCTIONS = {"float, large groups": 17, "float, small groups": 19, "double, large groups": 31}  # per distance
REGISTERS_OF_MULTIPROCESSOR = 65536


@pytest.fixture(scope="module")
def cubin(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("code") / "greedy.cubin"
    target = ["-gencode=arch=compute_90,code=sm_90", "-cubin", str(ROOT / "csrc/cuda/greedy.cu"), "-o", str(path)]
    subprocess.run([need_tool("cuda", "nvcc"), "-O3", "-std=c++17", *target], check=True, env=ENVIRONMENT)
    return path


def tool(name: str) -> str:
    need_triton()
    import triton

    return str(Path(triton.__file__).parent / "backends/nvidia/bin" / name)


@pytest.fixture(scope="module")
def functions(cubin) -> dict[str, str]:
    """Disassembly of each kernel."""
    code = subprocess.run(
        [tool("nvdisasm"), "-c", str(cubin)], capture_output=True, text=True, check=True, env=ENVIRONMENT
    ).stdout
    parts = re.split(r"\n\s*\.text\.", code)[1:]
    return {name: next(p for p in parts if mark in p.split("\n", 1)[0]) for name, mark in KERNELS.items()}


def loops_over_distances(code: str) -> list[list[str]]:
    """Instructions of every straight piece that loads and rounds a whole turn of distances."""
    found = []
    for piece in re.split(r"\n\.L_x_\d+:", code):
        instructions = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z][\w.]*)", piece)
        loads = sum(name.startswith(("LDG", "LD.E")) for name in instructions)
        if loads == DISTANCES_AT_ONCE == instructions.count("DFMA"):
            found.append(instructions)
    return found


@pytest.mark.parametrize("name", KERNELS)
def test_the_loop_over_touched_rows_is_short_and_has_no_branches(functions, name):
    loops = loops_over_distances(functions[name])
    assert loops
    for instructions in loops:
        assert len(instructions) / DISTANCES_AT_ONCE <= MOST_INSTRUCTIONS[name]
        assert sum(i.startswith("BRA") for i in instructions) <= 1  # back to its beginning


@pytest.mark.parametrize("name", KERNELS)
def test_meetings_take_one_access_and_no_sequentially_consistent_fence(functions, name):
    code = functions[name]
    assert "MEMBAR.SC" not in code
    assert len(re.findall(r"LDG?\.E\.128\.STRONG\.GPU", code)) == 1
    assert len(re.findall(r"STG?\.E\.128\.STRONG\.GPU", code)) == 1


def test_three_small_blocks_fit_on_a_multiprocessor(cubin):
    usage = subprocess.run(
        [tool("cuobjdump"), "--dump-resource-usage", str(cubin)],
        capture_output=True,
        text=True,
        check=True,
        env=ENVIRONMENT,
    ).stdout
    registers = {
        name: int(found.group(1))
        for name, mark in KERNELS.items()
        if (found := re.search(mark + r".*\n?.*?REG:(\d+) STACK:0", usage))
    }
    assert set(registers) == set(KERNELS)
    assert REGISTERS_OF_MULTIPROCESSOR // (256 * registers["float, small groups"]) >= 3
    assert REGISTERS_OF_MULTIPROCESSOR // (512 * registers["float, large groups"]) >= 1
