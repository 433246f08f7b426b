"""A weighted subset with its gains and statistics."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from acs_fast._util.checks import as_integers, as_tensor


@dataclass(frozen=True)
class Coreset:
    """k weighted samples in place of N; arrays become tensors.

    Attributes:
        indices: [k] int64 in pick order, groups in ascending order of their id.
        weights: [k] float32, >= 0; those of facility location sum to N.
        gains: [k] float32: by how much each pick improved the objective.
        stats: `relative_gradient_error` ||sum w g - target|| / ||target|| (None where no gradients are known),
            `objective`, `seconds` by stage, `backend`, `kernels` (on a GPU: what ran which part, and what is missing
            for more), `path` ("dense", "matrix-free", or both where groups went different ways), `peak_bytes` above
            the inputs (measured on CUDA, on a CPU the size of the planned workspace), `budget`, `filled` (picks that a
            fill policy added), `effective_size`.
        batches: the mini-batches that the coreset consists of, where it was selected by whole mini-batches; else None.
    """

    indices: Tensor
    weights: Tensor
    gains: Tensor
    stats: dict[str, Any] = field(default_factory=dict)
    batches: list[Tensor] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "indices", as_integers("indices", self.indices))
        for name in ("weights", "gains"):
            object.__setattr__(self, name, as_tensor(name, getattr(self, name)).float())

    def __len__(self) -> int:
        return len(self.indices)

    def to(self, device: torch.device | str) -> Coreset:
        indices, weights, gains = (t.to(device) for t in (self.indices, self.weights, self.gains))
        return Coreset(indices, weights, gains, self.stats, self.batches)

    @property
    def effective_size(self) -> float:
        """(sum w)^2 / sum w^2: how many equally weighted samples would average out as much noise."""
        w = self.weights.double()
        return float(w.sum().square() / w.square().sum().clamp_min(torch.finfo(w.dtype).tiny))

    def state_dict(self) -> dict[str, Any]:
        """All fields, in a form for loading with weights_only=True."""
        tensors = [t.cpu() for t in (self.indices, self.weights, self.gains)]
        return {"tensors": tensors, "stats": copy.deepcopy(self.stats), "batches": self.batches}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Coreset:
        """The coreset from its `state_dict`, on the CPU, wherever the checkpoint was loaded to."""
        batches = state["batches"]
        batches = None if batches is None else [b.cpu() for b in batches]
        indices, weights, gains = (t.cpu() for t in state["tensors"])
        return cls(indices, weights, gains, dict(state["stats"]), batches)

    def check(self, n: int, size: int | None = None, weight_sum: float | None = None) -> Coreset:
        """Check the invariants of a coreset of n samples and return it.

        Raises:
            RuntimeError: an invariant is broken, which is a defect of the selection and never of its input.
        """
        problems = []
        if size is not None and len(self) != size:
            problems.append(f"has {len(self)} samples instead of {size}")
        if not len(self.indices) == len(self.weights) == len(self.gains):
            problems.append("has indices, weights and gains of different lengths")
        if len(self) and not 0 <= int(self.indices.min()) <= int(self.indices.max()) < n:
            problems.append(f"has indices outside [0, {n})")
        if len(torch.unique(self.indices)) != len(self):
            problems.append("has repeated indices")
        if not bool(torch.isfinite(self.weights).all()) or bool((self.weights < 0).any()):
            problems.append("has negative or non-finite weights")
        total = float(self.weights.sum(dtype=torch.float64))
        if weight_sum is not None and abs(total - weight_sum) > 1e-6 * weight_sum:
            problems.append(f"has weights that sum to {total} instead of {weight_sum}")
        if problems:
            raise RuntimeError(f"internal error, please report it: the selected coreset {'; '.join(problems)}")
        return self
