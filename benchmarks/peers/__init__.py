"""Who takes part: one file per opponent, each with one function per task that it can do.

An opponent's function takes a `Problem` and returns a `Selection`, a distance matrix, or None where there is nothing to
check. It is timed as a whole: whatever a user would have to do with the factors (form dense gradients, turn distances
into similarities, copy to another library's types) is in its time.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.problem import Problem


@dataclass(frozen=True)
class Opponent:
    """One way to do a task.

    Attributes:
        kind: "ours", "peer" (what could be installed instead), "mixed" (a peer with a part of ours), or "control" (no
            rival: shown beside the others).
        module: its file in this folder.
        options: keyword arguments of the module's functions.
        packages: distributions whose versions a results file names.
        imports: what has to be importable.
        devices: where it can run.
        note: what a reader of its rows must know.
    """

    title: str
    kind: str
    module: str
    options: dict[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu", "cuda")
    note: str = ""

    def missing(self, device: str) -> str | None:
        """None when it can run on the device, else why not."""
        if device not in self.devices:
            return f"does not run on {device}"
        absent = [name for name in self.imports if importlib.util.find_spec(name) is None]
        if absent:
            return f"{', '.join(self.packages)} not installed"
        if self.kind == "ours":
            from acs_fast.ops import backends

            return backends.why_missing(self.options["backend"])
        return None

    def solver(self, task: str) -> Callable[[Problem], Any]:
        """Its function for a task, imports done."""
        module = importlib.import_module(f"benchmarks.peers.{self.module}")
        function = getattr(module, task)
        return lambda problem: function(problem, **self.options)


SIGNED = "no sign constraint: a smaller error is possible, at negative weights"
SUBMODLIB = {"packages": ("submodlib-py",), "imports": ("submodlib",)}
APRICOT = {"packages": ("apricot-select",), "imports": ("apricot",)}

OPPONENTS = {
    "ours-cpu": Opponent("acs_fast, compiled", "ours", "ours", {"backend": "cpu"}, devices=("cpu",)),
    "ours-triton": Opponent("acs_fast, Triton", "ours", "ours", {"backend": "triton"}, devices=("cuda",)),
    "ours-cuda": Opponent("acs_fast, CUDA", "ours", "ours", {"backend": "cuda"}, devices=("cuda",)),
    "ours-reference": Opponent("acs_fast, reference (PyTorch)", "ours", "ours", {"backend": "reference"}),
    "cdist": Opponent("torch.cdist on dense gradients", "peer", "dense", {"how": "cdist"}),
    "blas": Opponent("BLAS expansion on dense gradients", "peer", "dense", {"how": "blas"}),
    "sgemm": Opponent(
        "sgemm: the two products alone", "control", "sgemm",
        note="all N^2 entries of both Gram products into existing memory, no distances",
    ),
    "submodlib": Opponent("submodlib lazy greedy", "peer", "submodlib_lazy", **SUBMODLIB),
    "apricot": Opponent("apricot lazy greedy", "peer", "apricot_lazy", **APRICOT),
    "cdist-submodlib": Opponent("cdist + submodlib lazy", "peer", "submodlib_lazy", {"how": "cdist"}, **SUBMODLIB),
    "blas-submodlib": Opponent("BLAS + submodlib lazy", "peer", "submodlib_lazy", {"how": "blas"}, **SUBMODLIB),
    "blas-apricot": Opponent("BLAS + apricot lazy", "peer", "apricot_lazy", {"how": "blas"}, **APRICOT),
    "mixed-submodlib": Opponent(
        "acs_fast reference distances + submodlib lazy", "mixed", "submodlib_lazy", {"how": "factors"}, **SUBMODLIB,
        note="what the greedy alone leaves to gain",
    ),
    "published": Opponent(
        "published recipe", "peer", "published", packages=("apricot-select",), imports=("apricot",),
    ),
    "spams": Opponent(
        "SPAMS omp, signed", "peer", "spams_omp", packages=("spams-bin",), imports=("spams",), devices=("cpu",),
        note=SIGNED,
    ),
    "batched-omp": Opponent(
        "orthogonal-matching-pursuit-gpu, signed", "peer", "batched_omp", packages=("orthogonal-matching-pursuit-gpu",),
        imports=("orthogonal_matching_pursuit_gpu",), note=SIGNED,
    ),
    "sklearn-omp": Opponent(
        "scikit-learn orthogonal_mp_gram, signed", "peer", "sklearn_omp", packages=("scikit-learn",),
        imports=("sklearn",), devices=("cpu",), note=SIGNED,
    ),
    "random": Opponent("random subset", "control", "random_subset"),
}  # fmt: skip
