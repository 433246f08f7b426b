"""Compile every Triton kernel to a cubin, without a GPU; prints what the machine code holds as JSON.

`python -m tests.gpu.compile_kernels ARCH`, with the specialisations that tests and measurements use. Another Triton
than the installed one is taken from PYTHONPATH.

A program of its own: in the interpreter's process the kernels cannot be compiled.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from acs_fast.ops.triton import centred, distances, gradient_matching, greedy, residuals
from acs_fast.ops.triton import matching_products as products
from acs_fast.ops.triton import matching_steps as steps
from acs_fast.ops.triton.factors import Given, Moved
from acs_fast.ops.triton.greedy import Picked, Touched
from acs_fast.ops.triton.matching_state import Atoms, Groups, Leaders, Samples, Totals

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
INSTRUCTIONS = ("HGMMA", "HMMA", "DMMA", "LDGSTS.E.BYPASS.128", "LDGSTS.E", "LDG.E.U16", "MEMBAR.SC")
TYPES = {
    "norms_ptr": "*fp32", "members_ptr": "*i64", "groups_ptr": "*i64", "first_tile_ptr": "*i32", "data_ptr": "*fp32",
    "largest_ptr": "*i32", "close_ptr": "*i32", "labels_ptr": "*i64", "scale_ptr": "*fp64", "found_ptr": "*i32",
    "gain_ptr": "*i64", "best_ptr": "*i64", "gains_ptr": "*fp64", "level_ptr": "*i64", "assignment_ptr": "*i64",
    "out_ptr": "*fp32", "own_ptr": "*fp32", "means_ptr": "*fp32", "group_of_ptr": "*i64", "mean_r_ptr": "*fp32",
    "mean_h_ptr": "*fp32", "bias": "fp32", "threshold": "fp32", "lost": "fp32", "beta": "fp32",
    "picked": Picked("*i64", "*i64", "*i64"), "touched": Touched("*i32", "*i32", "*i64", "*i64"),
    "groups": Groups(
        "*i64", "*i32", "*fp64", "*fp64", "*i32", "*i32", "*i32", "*i32", "*fp64", "*i32", "*i32", "*fp64", "*fp64"
    ),
    "samples": Samples("*fp64", "*fp64", "*i32"), "leaders": Leaders("*fp64", "*i32", "i32"),
    "atoms": Atoms("*i32", *["*fp64"] * 5, *["*i32"] * 3, *["*fp64"] * 7, "i32"), "inverse_ptr": "*fp64",
    "totals": Totals(*["*fp64"] * 4, "i32", "i32"),
}  # fmt: skip
BLOCKS = {"R": 1, "BC": 16, "BD": 32}
STEP = {**BLOCKS, "SQUARED": False}
PAIRS = {**STEP, "B": 64, "CENTRED": True, "PRECISION": "tf32x3"}
TILE = {**STEP, "BM": greedy.ROWS, "BN": greedy.COLUMNS, "CENTRED": True, "PRECISION": "tf32x3"}
HALF = {"BD": 32, "CENTRED": False}
DENSE, FREE = {"DENSE": True, "moved": None, "given": None}, {"DENSE": False}
FLOAT_WARPS, HALF_WARPS = (distances.warps_for(dtype) for dtype in (torch.float32, torch.bfloat16))
KERNELS: list[tuple[str, Any, str, dict[str, Any], int]] = [
    ("distances, float32", distances.distances_kernel, "fp32", PAIRS, FLOAT_WARPS),
    ("distances, float32, 1000 classes", distances.distances_kernel, "fp32", {**PAIRS, "BC": 32}, FLOAT_WARPS),
    ("distances, bfloat16", distances.distances_kernel, "bf16", {**PAIRS, **HALF}, HALF_WARPS),
    ("distances, R = 2", distances.distances_kernel, "fp32", {**PAIRS, "R": 2, "B": 32}, FLOAT_WARPS),
    ("distances, R = 2, bfloat16", distances.distances_kernel, "bf16", {**PAIRS, **HALF, "R": 2}, HALF_WARPS),
    ("distances, ieee", distances.distances_kernel, "fp32", {**PAIRS, "PRECISION": "ieee"}, FLOAT_WARPS),
    ("distances, tf32", distances.distances_kernel, "fp32", {**PAIRS, "PRECISION": "tf32"}, FLOAT_WARPS),
    ("distances, bf16", distances.distances_kernel, "fp32", {**PAIRS, "PRECISION": "bf16"}, FLOAT_WARPS),
    ("close pairs", distances.close_pairs_kernel, "fp32", {**STEP, "B": 64, "ROWS": distances.STRIP}, 4),
    ("close pairs, R = 2", distances.close_pairs_kernel, "fp32", {**STEP, "R": 2, "B": 32, "ROWS": distances.STRIP}, 4),
    ("means", centred.means_kernel, "fp32", {"BN": 2 * centred.ROWS, "BK": 32}, 4),
    ("gathering, centred", centred.gather_kernel, "fp32", {"BN": centred.ROWS, "BK": 32, "CENTRED": True}, 4),
    ("gathering, bfloat16", centred.gather_kernel, "bf16", {"BN": centred.ROWS, "BK": 32, "CENTRED": False}, 4),
    ("moments", centred.moments_kernel, "fp32", {**BLOCKS, "BN": centred.ROWS, "CENTRED": True}, 4),
    ("moments, R = 2", centred.moments_kernel, "fp32", {**BLOCKS, "R": 2, "BN": centred.ROWS, "CENTRED": True}, 4),
    ("moments, bfloat16", centred.moments_kernel, "bf16", {**BLOCKS, **HALF, "BN": centred.ROWS}, 4),
    ("largest distance", greedy.largest_kernel, "fp32", TILE, 8),
    ("gains, dense", greedy.gains_kernel, "fp32", {**TILE, **DENSE}, 4),
    ("gains, matrix-free", greedy.gains_kernel, "fp32", {**TILE, **FREE}, 8),
    ("gains, matrix-free, R = 2", greedy.gains_kernel, "fp32", {**TILE, "R": 2, **FREE}, 8),
    ("pick", greedy.pick_kernel, "fp32", {"BN": greedy.COLUMNS, "BLOCK": 256}, 4),
    (
        "touched, dense",
        greedy.touched_kernel,
        "fp32",
        {**STEP, "BLOCK": 1024, "DENSE": True, "given": None, "SYMMETRIC": True},
        4,
    ),
    ("touched, free", greedy.touched_kernel, "fp32", {**STEP, "BLOCK": 64, "DENSE": False, "SYMMETRIC": True}, 4),
    ("cross-entropy residuals", residuals.cross_entropy_kernel, "bf16", {"BLOCK": 1024}, 4),
    ("TRADES residuals", residuals.trades_kernel, "fp32", {"BLOCK": 1024}, 4),
]
MEMBERS, ATOMS, SCAN = gradient_matching.MEMBERS, gradient_matching.ATOMS, gradient_matching.SCAN
MATCHING = [
    ("columns", products.column_kernel, {**BLOCKS, "BN": MEMBERS}, 4),
    ("forward", products.forward_kernel, {"BM": ATOMS, "BN": MEMBERS}, 4),
    ("backward", products.backward_kernel, {"BM": MEMBERS, "BN": ATOMS}, 4),
    ("directions", products.direction_kernel, {**BLOCKS, "BN": MEMBERS}, 4),
    ("steps", steps.settle_kernel, {"BLOCK": SCAN}, 4),
    ("updates", products.update_kernel, {"BM": ATOMS, "BN": MEMBERS, "BLOCK": SCAN}, 4),
    ("scores", products.score_kernel, {**BLOCKS, "BN": MEMBERS}, 4),
    ("decisions", steps.decide_kernel, {"BN": MEMBERS, "BLOCK": SCAN}, 4),
]
KERNELS += [(f"matching, {name}", kernel, "fp32", constants, warps) for name, kernel, constants, warps in MATCHING]
KERNELS += [  # none of half-precision factors, which are widened
    (f"matching, {name}, R = {passes}, {element}, {block} classes", kernel, element, constants, warps)
    for passes, element, block in ((2, "fp32", 16), (1, "fp32", 32), (2, "fp32", 32), (2, "fp64", 32))
    for name, kernel, blocks, warps in MATCHING
    if "R" in blocks
    for widest in [gradient_matching.DIRECTION_CLASSES if name == "directions" else block]
    for constants in [{**blocks, "R": passes, "BC": min(block, widest)}]
]
ON_HOPPER = [
    (f"distances, bfloat16, {classes}", distances.distances_kernel, "bf16", {**PAIRS, **HALF, "B": 128, "BC": block}, 8)
    for classes, block in (("10 classes", 16), ("1000 classes", 32))
]
ON_HOPPER.append(
    ("close pairs, bfloat16", distances.close_pairs_kernel, "bf16", {**STEP, "B": 128, "ROWS": distances.STRIP}, 4)
)


ALIGNED = {"D", "P", "PADDED"}  # multiples of 16 in all measurements
PADDED = ("moments_kernel", "moved")  # those whose C is that of the padded factors


def types(name: str, element: str) -> Any:
    """The type of a parameter, for factors of type `element`."""
    factor = f"*{element}"
    if name == "moved":
        return Moved(factor, factor, "*fp32", "*fp32", "*fp32", "i32", "i32", "fp32")
    if name == "given":
        return Given(factor, factor, "*i64", "i32", "i32", "fp32")
    return TYPES.get(name, factor if "_ptr" in name else "i32")


def aligned(owner: str, name: str, kind: str) -> bool:
    """Whether a parameter, or a field of one, is a multiple of 16."""
    own = (name == "C" and owner in PADDED) or (owner, name) == ("atoms", "K")
    return kind.startswith("*") or name in ALIGNED or own


def compile_kernel(kernel: Any, element: str, constants: dict[str, Any], warps: int, arch: int) -> dict[str, int]:
    """Registers, stack bytes and some instructions of one cubin."""
    names = kernel.arg_names
    signature = {n: "constexpr" if n in constants else types(n, element) for n in names}
    places: list[tuple[int, ...]] = []
    for i, (name, kind) in enumerate(signature.items()):
        if isinstance(kind, str):
            places += [(i,)] * aligned(kernel.__name__, name, kind)
        else:
            fields = zip(kind._fields, kind, strict=True)
            places += [(i, j) for j, (field, type_) in enumerate(fields) if aligned(name, field, type_)]
    attributes = {place: [["tt.divisibility", 16]] for place in places}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)
    options = {"num_warps": warps}
    compiled = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        usage = subprocess.run(
            [str(TOOLS / "cuobjdump"), "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
        code = subprocess.run(
            [str(TOOLS / "nvdisasm"), "-c", file.name], capture_output=True, text=True, check=True
        ).stdout
    found = dict(re.findall(r"(REG|STACK):(\d+)", usage))
    return {
        "registers": int(found["REG"]), "stack_bytes": int(found["STACK"]), "shared_bytes": compiled.metadata.shared,
        "warps": warps, **{name: code.count(name) for name in INSTRUCTIONS},
    }  # fmt: skip


def main() -> None:
    arch = int(sys.argv[1])
    kernels = [*KERNELS, *(ON_HOPPER if arch == 90 else [])]
    print(json.dumps({name: compile_kernel(kernel, *rest, arch) for name, kernel, *rest in kernels}))


if __name__ == "__main__":
    main()
