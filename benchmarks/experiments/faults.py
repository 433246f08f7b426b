"""Selectors that are wrong on purpose: mistakes of published code, to measure what they cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from acs_fast._util.randomness import derived_generator
from acs_fast.coreset import Coreset
from acs_fast.selection import Choice, Pool, Selector, gradient_error, selector

FAULTS = {
    "shuffled-rows": "gradients read through a shuffling sampler, picks mapped back as if they were in order",
    "cancelled-weights": "weights that cancel in the loss of a mini-batch: every sample counts the same",
}


@dataclass(frozen=True)
class ShuffledRows:
    """Selects on gradients whose rows were shuffled within each class, and keeps the row numbers as sample numbers.

    The published CRAIG does so: a sampler that shuffles a class gives the gradients, and pick p of the class is taken
    for the p-th sample of that class. Sizes and weights stay right, the samples are other ones.
    """

    inner: Selector
    needs_gradients = True
    needs_labels = True
    redraws = False

    def choose(self, pool: Pool, fraction: float, seed: int) -> Choice:
        if pool.gradients is None or pool.labels is None:
            raise ValueError("pool must hold gradients and labels; got a pool without")
        rows = shuffled_within(pool.labels.cpu(), seed).to(pool.labels.device)
        choice = self.inner.choose(replace(pool, gradients=pool.gradients[rows]), fraction, seed)
        return Choice(_measured(choice.coreset, choice.coreset.weights, pool), choice.batches)


@dataclass(frozen=True)
class CancelledWeights:
    """A selection whose weights are all the same: what the rule sum(w l) / sum(w) makes of equal weights in a batch."""

    inner: Selector
    needs_gradients = True
    needs_labels = True
    redraws = False

    def choose(self, pool: Pool, fraction: float, seed: int) -> Choice:
        choice = self.inner.choose(pool, fraction, seed)
        equal = torch.full_like(choice.coreset.weights, pool.n / len(choice.coreset))
        return Choice(_measured(choice.coreset, equal, pool), choice.batches)


def faulty(fault: str, method: str, granularity: str, batch_size: int, backend: str) -> Selector:
    """The selector of that name with a fault. Raises ValueError for an unknown fault."""
    if fault not in FAULTS:
        raise ValueError(f"fault must be one of {', '.join(FAULTS)}; got {fault!r}")
    inner = selector(method, granularity, batch_size, backend)
    return ShuffledRows(inner) if fault == "shuffled-rows" else CancelledWeights(inner)


def shuffled_within(labels: Tensor, seed: int) -> Tensor:
    """[N] a permutation that leaves every position to a sample of the same label."""
    rows = torch.empty_like(labels)
    generator = derived_generator("shuffled rows", seed)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        rows[members] = members[torch.randperm(len(members), generator=generator)]
    return rows


def _measured(coreset: Coreset, weights: Tensor, pool: Pool) -> Coreset:
    """The coreset with these weights and the error that it really has."""
    if pool.gradients is None:
        raise ValueError("pool must hold gradients; got none")
    error = gradient_error(pool.gradients, coreset.indices, weights)
    return Coreset(coreset.indices, weights, coreset.gains, {**coreset.stats, "relative_gradient_error": error})
