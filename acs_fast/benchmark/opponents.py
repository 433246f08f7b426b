"""Opponents of a case: our backends, and packages in their place."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from acs_fast.ops import backends


@dataclass(frozen=True)
class Opponent:
    """One way to do a task.

    Attributes:
        kind: as in `Row`.
        module: holds one function per task; it takes the problem and returns the answer, and is timed as a whole:
            whatever a user would have to do with the factors (form dense gradients, turn distances into similarities,
            copy to another library's types) is in its time.
        options: keyword arguments of the module's functions.
        packages: distributions whose versions a results file names.
        imports: modules that have to be there.
        devices: types of devices that it runs on.
        note: what a reader of its rows must know.
    """

    title: str
    kind: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu", "cuda")
    note: str = ""

    def missing(self) -> str | None:
        """None when it is there, else why not."""
        absent = [name for name in self.imports if importlib.util.find_spec(name) is None]
        if absent:
            return f"{', '.join(self.packages)} not installed"
        return backends.why_missing(self.options["backend"]) if "backend" in self.options else None

    def solver(self, task: str) -> Callable[[Any], Any]:
        """Its function for a task, imports done."""
        function = getattr(importlib.import_module(self.module), task)
        return lambda problem: function(problem, **self.options)


_OURS, _PEERS = "acs_fast.benchmark.ours", "acs_fast.benchmark.peers"
_SUBMODLIB: dict[str, Any] = {"packages": ("submodlib-py",), "imports": ("submodlib",)}
_APRICOT: dict[str, Any] = {"packages": ("apricot-select",), "imports": ("apricot",)}

SIGNED = "no sign constraint: a smaller error is possible, at negative weights"

OPPONENTS = {
    "ours-reference": Opponent("acs_fast, reference (PyTorch)", "ours", _OURS, {"backend": "reference"}),
    "ours-cpu": Opponent("acs_fast, compiled", "ours", _OURS, {"backend": "cpu"}, devices=("cpu",)),
    "ours-triton": Opponent("acs_fast, Triton", "ours", _OURS, {"backend": "triton"}, devices=("cuda",)),
    "ours-cuda": Opponent("acs_fast, CUDA", "ours", _OURS, {"backend": "cuda"}, devices=("cuda",)),
    "cdist": Opponent("torch.cdist on dense gradients", "peer", _PEERS + ".dense", {"how": "cdist"}),
    "blas": Opponent("BLAS expansion on dense gradients", "peer", _PEERS + ".dense", {"how": "blas"}),
    "submodlib": Opponent("submodlib lazy greedy", "peer", _PEERS + ".submodlib", **_SUBMODLIB),
    "apricot": Opponent("apricot lazy greedy", "peer", _PEERS + ".apricot", **_APRICOT),
    "blas-submodlib": Opponent(
        "BLAS + submodlib lazy greedy", "peer", _PEERS + ".submodlib", {"how": "blas"}, **_SUBMODLIB
    ),
    "blas-apricot": Opponent("BLAS + apricot lazy greedy", "peer", _PEERS + ".apricot", {"how": "blas"}, **_APRICOT),
    "sklearn-omp": Opponent(
        "scikit-learn orthogonal_mp_gram, signed", "peer", _PEERS + ".sklearn_omp", packages=("scikit-learn",),
        imports=("sklearn",), devices=("cpu",), note=SIGNED,
    ),
}  # fmt: skip
