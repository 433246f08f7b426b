"""Selectors that cover (CRAIG) or match (GradMatch) last-layer gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acs_fast._util.checks import check_choice, check_count
from acs_fast._util.randomness import derived_generator
from acs_fast.coreset import Coreset
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.ops.backends import BACKENDS
from acs_fast.selection.craig import facility_location
from acs_fast.selection.gradmatch import gradient_matching
from acs_fast.selection.selector import GRANULARITIES, Choice, Pool


@dataclass(frozen=True)
class GradientSelector:
    """Base of selectors that cover or match gradients, within each class, over mini-batches, or globally.

    Args:
        granularity: "class" (an independent problem per label), "batch" (whole mini-batches, by their mean gradients)
            or "global".
        batch_size: of the mini-batches, for granularity "batch".
        backend: as in `facility_location`.
    """

    granularity: str = "class"
    batch_size: int = 128
    backend: str = "auto"
    needs_gradients = True
    needs_labels = False  # they come with the gradients
    redraws = False

    def __post_init__(self) -> None:
        check_choice("granularity", self.granularity, GRANULARITIES)
        check_count("batch_size", self.batch_size, low=1)
        check_choice("backend", self.backend, BACKENDS)

    def select(self, x: LastLayerGradients | Tensor, budget: float, groups: Tensor | None, seed: int) -> Coreset:
        raise NotImplementedError(f"{type(self).__name__} must define select(x, budget, groups, seed)")

    def choose(self, pool: Pool, fraction: float, seed: int) -> Choice:
        if pool.gradients is None:
            raise ValueError(f"pool must hold gradients for {type(self).__name__}; got none")
        if self.granularity == "batch":
            return self._choose_batches(pool.gradients, fraction, seed)
        groups = pool.labels if self.granularity == "class" else None
        return Choice(self.select(pool.gradients, fraction, groups, seed).to("cpu"))

    def _choose_batches(self, g: LastLayerGradients, fraction: float, seed: int) -> Choice:
        order = torch.randperm(len(g), generator=derived_generator("batches", seed))
        batches = list(order.split(self.batch_size))
        chosen = self.select(batch_gradients(g, batches), fraction, None, seed).to("cpu")
        picked = [batches[i] for i in chosen.indices.tolist()]
        sizes = torch.tensor([len(b) for b in picked], dtype=torch.int64)
        indices = torch.cat(picked) if picked else order[:0]
        weights, gains = (v.repeat_interleave(sizes) for v in (chosen.weights, chosen.gains))
        return Choice(Coreset(indices, weights, gains, chosen.stats).check(len(g)), picked)


@dataclass(frozen=True)
class Craig(GradientSelector):
    """Facility location over gradients: see `facility_location`."""

    metric: str = "euclidean"

    def select(self, x: LastLayerGradients | Tensor, budget: float, groups: Tensor | None, seed: int) -> Coreset:
        return facility_location(x, budget, metric=self.metric, groups=groups, backend=self.backend)


@dataclass(frozen=True)
class GradMatch(GradientSelector):
    """Gradient matching: see `gradient_matching`. Fills up with random samples by default, and reports how many."""

    ridge: float = 0.0
    fill: str = "random"

    def select(self, x: LastLayerGradients | Tensor, budget: float, groups: Tensor | None, seed: int) -> Coreset:
        return gradient_matching(
            x, budget, groups=groups, ridge=self.ridge, fill=self.fill, seed=seed, backend=self.backend
        )


def batch_gradients(g: LastLayerGradients, batches: list[Tensor]) -> LastLayerGradients:
    """Mean gradients of mini-batches, R_b^T H_b / B: dense vectors or factors with R B passes, whichever is smaller.

    B is the size of the largest batch, so that the elements of a ragged partition still sum to the full gradient / B.
    """
    size = max(len(b) for b in batches)
    c, d = g.residuals.shape[-1], g.features.shape[-1]
    passes = size * g.residuals.shape[1]
    if c * (d + 1) <= passes * (c + d):
        means = [g[b].total() / size for b in batches]
        return LastLayerGradients.from_vectors(torch.stack(means).flatten(1))
    residuals = g.residuals.new_zeros(len(batches), passes, c)
    features = g.features.new_zeros(len(batches), passes, d)
    for i, b in enumerate(batches):
        r, h = g.residuals[b].flatten(0, 1), g.features[b].flatten(0, 1)
        residuals[i, : len(r)], features[i, : len(h)] = r / size, h
    return LastLayerGradients(residuals, features, g.bias)
