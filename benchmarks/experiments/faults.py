"""Selectors that are wrong on purpose: mistakes of published code, to measure what they cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from acs_fast._util.randomness import derived_generator
from acs_fast.coreset import Coreset
from acs_fast.gradients import LastLayerGradients
from acs_fast.selection import Selector, gradient_error

FAULTS = {
    "shuffled-rows": "gradients read through a shuffling sampler, picks mapped back as if they were in order",
    "cancelled-weights": "weights that cancel in the loss of a mini-batch: every sample counts the same",
}


@dataclass(frozen=True)
class Faulty:
    """A selector that goes wrong, with the error that its coreset really has."""

    inner: Selector
    needs_gradients = True
    lasts = "period"

    def select(
        self, n: int, budget: int, gradients: LastLayerGradients | None, labels: Tensor | None, seed: int
    ) -> Coreset:
        """See `Selector.select`."""
        if gradients is None:
            raise ValueError("gradients must be given; got None")
        chosen = self.chosen(n, budget, gradients, labels, seed)
        error = gradient_error(gradients, chosen.indices, chosen.weights)
        return replace(chosen, stats={**chosen.stats, "relative_gradient_error": error})

    def chosen(self, n: int, budget: int, g: LastLayerGradients, labels: Tensor | None, seed: int) -> Coreset:
        raise NotImplementedError(f"{type(self).__name__} must define chosen(n, budget, g, labels, seed)")


class ShuffledRows(Faulty):
    """Selects on gradients whose rows were shuffled within each class, and keeps the row numbers as sample numbers.

    The published CRAIG does so: a sampler that shuffles a class gives the gradients, and pick p of the class is taken
    for the p-th sample of that class. Sizes and weights stay right, the samples are other ones.
    """

    def chosen(self, n: int, budget: int, g: LastLayerGradients, labels: Tensor | None, seed: int) -> Coreset:
        if labels is None:
            raise ValueError("labels must be given; got None")
        return self.inner.select(n, budget, g[shuffled_within(labels, seed).to(g.device)], labels, seed)


class CancelledWeights(Faulty):
    """A selection whose weights are all the same: what the rule sum(w l) / sum(w) makes of equal weights in a batch."""

    def chosen(self, n: int, budget: int, g: LastLayerGradients, labels: Tensor | None, seed: int) -> Coreset:
        found = self.inner.select(n, budget, g, labels, seed)
        return replace(found, weights=torch.full_like(found.weights, n / len(found)))


def faulty(fault: str, inner: Selector) -> Selector:
    """The selector with a fault. Raises ValueError for an unknown fault."""
    if fault not in FAULTS:
        raise ValueError(f"fault must be one of {', '.join(FAULTS)}; got {fault!r}")
    return ShuffledRows(inner) if fault == "shuffled-rows" else CancelledWeights(inner)


def shuffled_within(labels: Tensor, seed: int) -> Tensor:
    """[N] a permutation that leaves every position to a sample of the same label."""
    rows = torch.empty_like(labels)
    generator = derived_generator("shuffled rows", seed)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        rows[members] = members[torch.randperm(len(members), generator=generator)]
    return rows
