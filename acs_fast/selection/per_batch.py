"""Coresets of whole mini-batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from acs_fast._util.checks import check_count
from acs_fast._util.randomness import derived_generator
from acs_fast._util.settings import load_state, state_of
from acs_fast.coreset import Coreset
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.selection.selector import Selector


@dataclass(frozen=True)
class PerBatch:
    """Another selector over whole mini-batches, by their mean gradients; the batches then stay together.

    Train with `AdversarialCoreset.batch_sampler`, which gives these mini-batches as they are.

    Args:
        selector: what chooses among the mini-batches.
        batch_size: B, of the mini-batches that the data are split into at random.

    Raises:
        ValueError: batch_size < 1.
    """

    selector: Selector
    batch_size: int = 128

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size, low=1)

    @property
    def needs_gradients(self) -> bool:
        return self.selector.needs_gradients

    @property
    def lasts(self) -> str:
        return self.selector.lasts

    def select(
        self, n: int, budget: int, gradients: LastLayerGradients | None, labels: Tensor | None, seed: int
    ) -> Coreset:
        """See `Selector.select`; the budget counts as a share of the mini-batches, rounded down, at least one.

        Where the last mini-batch is smaller than the others, those chosen may exceed the budget by less than one.
        """
        batches = self.batches(n, seed)
        means = None if gradients is None else batch_gradients(gradients, batches)
        return self.expanded(
            self.selector.select(len(batches), self.batch_budget(n, budget), means, None, seed), batches
        )

    def state_dict(self) -> dict[str, Any]:
        """What the selector remembers."""
        return state_of(self.selector)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what `state_dict` returned."""
        load_state(self.selector, state)

    def batches(self, n: int, seed: int) -> list[Tensor]:
        """The mini-batches of a selection: the numbers of their samples."""
        order = torch.randperm(n, generator=derived_generator("batches", seed))
        return list(order.split(self.batch_size))

    def batch_budget(self, n: int, budget: int) -> int:
        """A budget of samples as a number of mini-batches."""
        return max(1, budget * -(-n // self.batch_size) // n)

    def expanded(self, chosen: Coreset, batches: list[Tensor]) -> Coreset:
        """The samples of the chosen mini-batches, on the CPU."""
        chosen = chosen.to("cpu")
        picked = [batches[i] for i in chosen.indices.tolist()]
        sizes = torch.tensor([len(b) for b in picked], dtype=torch.int64)
        indices = torch.cat(picked) if picked else torch.arange(0)
        weights, gains = (v.repeat_interleave(sizes) for v in (chosen.weights, chosen.gains))
        return Coreset(indices, weights, gains, chosen.stats, picked)


def batch_gradients(g: LastLayerGradients, batches: list[Tensor], size: int | None = None) -> LastLayerGradients:
    """Mean gradients of mini-batches, R_b^T H_b / B: dense vectors or factors with R B passes, whichever is smaller.

    Args:
        g: of the samples.
        batches: the numbers of the samples in each.
        size: B, that of the largest batch, so that the elements of a ragged partition still sum to the full gradient
            / B; to be given where these are not all batches.
    """
    size = size or max(len(b) for b in batches)
    c, d = g.residuals.shape[-1], g.features.shape[-1]
    passes = size * g.residuals.shape[1]
    if c * (d + 1) <= passes * (c + d):
        means = [g[b].total() / size for b in batches] or [g.total()]
        return LastLayerGradients.from_vectors(torch.stack(means).flatten(1)[: len(batches)])
    residuals = g.residuals.new_zeros(len(batches), passes, c)
    features = g.features.new_zeros(len(batches), passes, d)
    for i, b in enumerate(batches):
        r, h = g.residuals[b].flatten(0, 1), g.features[b].flatten(0, 1)
        residuals[i, : len(r)], features[i, : len(h)] = r / size, h
    return LastLayerGradients(residuals, features, g.bias)
