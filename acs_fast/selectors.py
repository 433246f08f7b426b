"""Ways to choose what the coreset epochs train on: by gradients, or at random as the controls do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from acs_fast.checks import check_choice, check_count
from acs_fast.coreset import Coreset
from acs_fast.gradients import LastLayerGradients
from acs_fast.groups import partition
from acs_fast.ops.backends import BACKENDS
from acs_fast.randomness import derived_generator, derived_seed
from acs_fast.selection import facility_location, gradient_matching

GRANULARITIES = ("class", "batch", "global")


@dataclass(frozen=True)
class Pool:
    """What there is to choose from: N samples, their labels, and for selectors that ask for them their gradients."""

    n: int
    labels: Tensor | None = None
    gradients: LastLayerGradients | None = None


@dataclass(frozen=True)
class Choice:
    """A coreset of samples, and with batch granularity the mini-batches that it consists of."""

    coreset: Coreset
    batches: list[Tensor] | None = None


class Selector(Protocol):
    """Chooses `budget` of the samples in a pool; `seed` makes its random part repeatable."""

    @property
    def needs_gradients(self) -> bool:
        """Whether `choose` wants `pool.gradients`, which cost an attack on every sample."""

    @property
    def needs_labels(self) -> bool:
        """Whether `choose` wants `pool.labels`."""

    @property
    def redraws(self) -> bool:
        """Whether every epoch gets a choice of its own (else one lasts for a period)."""

    def choose(self, pool: Pool, fraction: float, seed: int) -> Choice:
        """A weighted subset of about fraction * N samples."""


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


@dataclass(frozen=True)
class Random:
    """Uniformly random samples of equal weight: the control that every claim is measured against.

    Args:
        redraws: a new subset every epoch (else one for the whole run).
        stratified: the same fraction of every class, weighted so that each class counts as in the full data.
    """

    redraws: bool = True
    stratified: bool = False
    needs_gradients = False

    @property
    def needs_labels(self) -> bool:
        return self.stratified

    def choose(self, pool: Pool, fraction: float, seed: int) -> Choice:
        problems = partition(pool.labels if self.stratified else None, pool.n, torch.device("cpu"))
        shares = problems.share(max(1, int(fraction * pool.n)))
        generator = derived_generator("random", seed)
        picks = [
            members[torch.randperm(len(members), generator=generator)[:k]]
            for members, k in zip(problems, shares.tolist(), strict=True)
        ]
        weights = (problems.sizes / shares).repeat_interleave(shares)
        stats: dict[str, Any] = {"relative_gradient_error": None, "objective": None, "seconds": {}, "filled": 0}
        stats |= {"backend": "none", "path": "none", "peak_bytes": 0, "budget": int(shares.sum())}
        coreset = Coreset(torch.cat(picks), weights.float(), torch.zeros(len(weights)), stats)
        return Choice(coreset.check(pool.n, int(shares.sum()), weight_sum=pool.n))


SELECTORS = {
    "craig": "facility location over last-layer gradients",
    "gradmatch": "non-negative matching of the full gradient",
    "random": "random, redrawn every epoch",
    "random-fixed": "random, drawn once",
    "random-stratified": "random within each class, redrawn every epoch",
}


def selector(
    name: str | Selector, granularity: str = "class", batch_size: int = 128, backend: str = "auto"
) -> Selector:
    """The selector of that name, or the given one.

    Raises:
        ValueError: unknown name or granularity.
        TypeError: neither a name nor a selector.
    """
    if not isinstance(name, str):
        if not callable(getattr(name, "choose", None)):
            raise TypeError(f"selector must be one of {', '.join(SELECTORS)} or a Selector; got {type(name).__name__}")
        return name
    check_choice("selector", name, SELECTORS)
    check_choice("granularity", granularity, GRANULARITIES)
    if name == "craig":
        return Craig(granularity, batch_size, backend)
    if name == "gradmatch":
        return GradMatch(granularity, batch_size, backend)
    return Random(redraws=name != "random-fixed", stratified=name == "random-stratified")


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


def epoch_seed(seed: int, epoch: int) -> int:
    """The seed of a selection in an epoch."""
    return derived_seed("selection", seed, epoch)
