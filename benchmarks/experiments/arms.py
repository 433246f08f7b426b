"""Selectors that only experiments need: the controls that a selection has to beat, and what a selector looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from acs_fast import Clusters, Coreset, GradMatch, LastLayerGradients
from acs_fast._util.randomness import derived_generator
from acs_fast.gradients import Extraction
from acs_fast.training import ImageSet
from benchmarks.experiments.faults import shuffled_within

SEEN = ("gradients", "features", "residuals", "pixels", "kinds")
LEAST = 1e-3  # of an error or a loss, so that nothing is never drawn


@dataclass(frozen=True)
class View:
    """Gradient source: another description of the samples in place of their gradients.

    Args:
        source: gives the gradients; never called for pixels and kinds, which need no model.
        seen: a name from `SEEN`; "kinds" is what an oracle sees.
        images, kinds: the samples.
    """

    source: Callable[[int], Extraction]
    seen: str
    images: ImageSet
    kinds: Tensor

    def __call__(self, seed: int) -> Extraction:
        if self.seen == "pixels":
            return _described(self.images.read(list(range(len(self.images)))), self.images.labels)
        if self.seen == "kinds":
            return _described(torch.nn.functional.one_hot(self.kinds).float(), self.images.labels)
        taken = self.source(seed)
        vectors = getattr(taken.gradients, self.seen)
        return replace(_described(vectors, taken.labels), seconds=taken.seconds)


def _described(vectors: Tensor, labels: Tensor) -> Extraction:
    """Vectors [N, ...] in the place of gradients: distances and sums are theirs."""
    return Extraction(LastLayerGradients(vectors.flatten(1), torch.ones(len(vectors), 1), bias=False), labels)


class RandomClusters(Clusters):
    """Clusters of the same sizes as those of the gradients, with members at random: do the gradients matter?"""

    def _clusters(self, g: LastLayerGradients, count: int, labels: Tensor | None) -> tuple[Tensor, Coreset]:
        clusters, medoids = super()._clusters(g, count, labels)
        classes = torch.zeros(len(g), dtype=torch.int64) if labels is None else labels
        return clusters[shuffled_within(classes, int(medoids.indices.sum()))], medoids


class Equal:
    """Base of selectors whose picks all count the same."""

    needs_gradients = True
    lasts = "epoch"

    def select(
        self, n: int, budget: int, gradients: LastLayerGradients | None, labels: Tensor | None, seed: int
    ) -> Coreset:
        """See `Selector.select`."""
        picks = self.picks(gradients, labels, budget, seed)
        return Coreset(picks, torch.full((len(picks),), n / len(picks)), torch.zeros(len(picks)))

    def picks(self, g: LastLayerGradients, y: Tensor, budget: int, seed: int) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define picks(g, y, budget, seed)")


@dataclass(frozen=True)
class ClassQuotas(Equal):
    """More of the classes with more errors: DRoP's quotas, tempered by a power.

    Source: Vysogorets, Ahuja, Kempe, "DRoP: Distributionally Robust Data Pruning", 2024 (arXiv 2404.05579).
    """

    power: float = 0.5

    def picks(self, g: LastLayerGradients, y: Tensor, budget: int, seed: int) -> Tensor:
        wrong = (probabilities(g, y).argmax(1) != y).float()
        sizes = torch.bincount(y)
        error = torch.bincount(y, wrong) / sizes.clamp(min=1)
        quotas = capped(sizes * error.clamp(min=LEAST) ** self.power, sizes, budget)
        return _first_of_classes(torch.randperm(len(y), generator=derived_generator("class quotas", seed)), y, quotas)


@dataclass(frozen=True)
class ByLoss(Equal):
    """Samples drawn in proportion to a power of their loss, or with power = infinity the largest ones."""

    power: float = 1.0

    def picks(self, g: LastLayerGradients, y: Tensor, budget: int, seed: int) -> Tensor:
        losses = -own_probability(g, y).clamp(min=1e-12).log()
        if self.power == float("inf"):
            return losses.topk(budget).indices
        generator = derived_generator("by loss", seed)
        return torch.multinomial(losses.clamp(min=LEAST) ** self.power, budget, generator=generator)


@dataclass(frozen=True)
class SmallLoss(Equal):
    """The samples of each class with the smallest losses, which flipped labels seldom have.

    Source: Han et al., "Co-teaching", NeurIPS 2018 (arXiv 1804.06872), with one network.
    """

    lasts = "period"

    def picks(self, g: LastLayerGradients, y: Tensor, budget: int, seed: int) -> Tensor:
        return _best_of_classes(own_probability(g, y), y, budget)


@dataclass(frozen=True)
class Trusted(Equal):
    """The first samples, whose labels were checked, and no others."""

    needs_gradients = False
    lasts = "run"

    def picks(self, g: LastLayerGradients | None, y: Tensor, budget: int, seed: int) -> Tensor:
        return torch.arange(budget)


@dataclass(frozen=True)
class TrustedMatch:
    """GradMatch with the gradients of the first samples, whose labels were checked, as its target."""

    count: int
    needs_gradients = True
    lasts = "period"

    def select(
        self, n: int, budget: int, gradients: LastLayerGradients | None, labels: Tensor | None, seed: int
    ) -> Coreset:
        """See `Selector.select`."""
        checked = Extraction(gradients[torch.arange(self.count)], labels[: self.count])
        return GradMatch(target=lambda seed: checked).select(n, budget, gradients, labels, seed)


@dataclass(frozen=True)
class Aligned(Equal):
    """The samples of each class whose gradients agree most with those of the checked ones: GLISTER's first round.

    Source: Killamsetty et al., "GLISTER", AAAI 2021 (arXiv 2012.10630).
    """

    count: int
    lasts = "period"

    def picks(self, g: LastLayerGradients, y: Tensor, budget: int, seed: int) -> Tensor:
        rows = g.dense().cpu()
        return _best_of_classes(rows @ rows[: self.count].mean(0), y, budget)


@dataclass(frozen=True)
class Unflipped(Equal):
    """Samples drawn from those whose label is their kind: what an oracle sees."""

    def picks(self, g: LastLayerGradients, y: Tensor, budget: int, seed: int) -> Tensor:
        right = (g.residuals.flatten(1).cpu().argmax(1) == y).nonzero().flatten()
        order = torch.randperm(len(right), generator=derived_generator("unflipped", seed))
        return right[order[:budget]]


@dataclass
class Stale(Equal):
    """The samples of which a new attack promises most: its age times the size of the residual that it left."""

    _age: Tensor | None = field(default=None, repr=False, compare=False)

    def picks(self, g: LastLayerGradients, y: Tensor, budget: int, seed: int) -> Tensor:
        age = torch.zeros(len(g)) if self._age is None else self._age
        size = g.residuals.flatten(1).norm(dim=1).cpu()
        noise = torch.rand(len(g), generator=derived_generator("stale", seed))
        picks = ((age + noise) * size).topk(budget).indices
        self._age = age + 1.0
        self._age[picks] = 0.0
        return picks


def probabilities(gradients: LastLayerGradients, labels: Tensor) -> Tensor:
    """[N, C] outputs of the model, read off the residuals of cross-entropy."""
    residuals = gradients.residuals.flatten(1).cpu()
    return residuals + torch.nn.functional.one_hot(labels, residuals.shape[1])


def own_probability(gradients: LastLayerGradients, labels: Tensor) -> Tensor:
    """[N] what the model gives to the label of each sample."""
    return probabilities(gradients, labels).gather(1, labels[:, None])[:, 0]


def capped(wanted: Tensor, sizes: Tensor, budget: int) -> Tensor:
    """[K] int64 in proportion to `wanted` [K] > 0, none above its size, whose sum is the budget."""
    low, high = 0.0, float((sizes / wanted).max())
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if float((middle * wanted).minimum(sizes).sum()) > budget else (middle, high)
    exact = (low * wanted).minimum(sizes)
    whole = exact.floor().long()
    whole[(exact - whole).topk(budget - int(whole.sum())).indices] += 1
    return whole


def _best_of_classes(scores: Tensor, labels: Tensor, budget: int) -> Tensor:
    """The samples with the largest scores, from every class in proportion to its size."""
    sizes = torch.bincount(labels)
    quotas = capped(sizes.clamp(min=LEAST), sizes, budget)
    return _first_of_classes(scores.argsort(descending=True, stable=True), labels, quotas)


def _first_of_classes(order: Tensor, labels: Tensor, quotas: Tensor) -> Tensor:
    """So many of each class as its quota, those that come first."""
    return torch.cat([order[labels[order] == c][:quota] for c, quota in enumerate(quotas.tolist())])
