"""The protocol of selectors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor

from acs_fast.coreset import Coreset
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.selection.common import gradient_error

LASTS = ("epoch", "period", "run")


class Selector(Protocol):
    """Chooses the coreset; a user's own class needs these three names and no base class.

    Attributes:
        needs_gradients: whether `select` wants gradients, which cost an attack on every sample.
        lasts: how long a coreset is used: "epoch" (a new one every epoch; gradients are taken once a period), "period"
            or "run".
    """

    @property
    def needs_gradients(self) -> bool:
        """See above."""

    @property
    def lasts(self) -> str:
        """See above."""

    def select(
        self, n: int, budget: int, gradients: LastLayerGradients | None, labels: Tensor | None, seed: int
    ) -> Coreset:
        """Choose a weighted subset.

        Args:
            n: N samples to choose from.
            budget: k, how many to choose.
            gradients: of the N samples, where `needs_gradients`; else None.
            labels: [N] int64 on the CPU; None where the N things are no samples of one class.
            seed: of everything random in the choice.

        Returns:
            A `Coreset`; stats that are missing are filled in, and its invariants are checked.
        """


def completed(coreset: Coreset, gradients: LastLayerGradients | None) -> Coreset:
    """A coreset as a training loop needs it: not empty, with every stat, whoever selected it.

    Args:
        coreset: on the CPU.
        gradients: of the N samples, to measure the error by where the selector did not; None where none are known.

    Raises:
        RuntimeError: it is empty or has zero weight.
    """
    if not len(coreset) or not float(coreset.weights.sum()) > 0.0:
        raise RuntimeError("the selection is empty or has zero weight: the gradients give nothing to match")
    error = coreset.stats.get("relative_gradient_error")
    if error is None and gradients is not None:
        indices, weights = (t.to(gradients.device) for t in (coreset.indices, coreset.weights))
        error = gradient_error(gradients, indices, weights)
    stats: dict[str, Any] = {
        "objective": None, "seconds": {}, "filled": 0, "backend": "none", "path": "none", "peak_bytes": 0,
        "budget": len(coreset), "effective_size": coreset.effective_size,
    }  # fmt: skip
    return replace(coreset, stats={**stats, **coreset.stats, "relative_gradient_error": error})
