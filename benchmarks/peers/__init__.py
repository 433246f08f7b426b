"""Every opponent of the full suite: those of the package, and more that need not be installed with it."""

from __future__ import annotations

from dataclasses import replace

from acs_fast.benchmark.opponents import OPPONENTS as PACKAGED
from acs_fast.benchmark.opponents import SIGNED, Opponent
from benchmarks.ops.cases import GIB, LIMITS

HERE = __name__
SUBMODLIB = {"packages": ("submodlib-py",), "imports": ("submodlib",)}

LIMITED = {
    name: replace(
        PACKAGED["ours-cpu"], title=f"acs_fast, memory={size / GIB:g} GiB", options={"backend": "cpu", "memory": size}
    )
    for name, size in LIMITS.items()
}

OPPONENTS = {
    **PACKAGED,
    **LIMITED,
    "cdist-submodlib": Opponent(
        "cdist + submodlib lazy greedy", "peer", PACKAGED["submodlib"].module, {"how": "cdist"}, **SUBMODLIB
    ),
    "mixed-submodlib": Opponent(
        "acs_fast reference distances + submodlib lazy greedy", "mixed", f"{HERE}.mixed", **SUBMODLIB,
        note="what the greedy alone leaves to gain",
    ),
    "published": Opponent(
        "published recipe", "published", f"{HERE}.published", packages=("apricot-select",), imports=("apricot",)
    ),
    "spams": Opponent(
        "SPAMS omp, signed", "peer", f"{HERE}.spams_omp", packages=("spams-bin",), imports=("spams",),
        devices=("cpu",), note=SIGNED,
    ),
    "batched-omp": Opponent(
        "orthogonal-matching-pursuit-gpu, signed", "peer", f"{HERE}.batched_omp",
        packages=("orthogonal-matching-pursuit-gpu",), imports=("orthogonal_matching_pursuit_gpu",), note=SIGNED,
    ),
    "sgemm": Opponent(
        "sgemm: the two products alone", "control", f"{HERE}.controls",
        note="all N^2 entries of both Gram products into existing memory, no distances",
    ),
    "random": Opponent("random subset", "control", f"{HERE}.controls"),
}  # fmt: skip
