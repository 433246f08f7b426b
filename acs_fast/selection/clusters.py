"""Members of few clusters of gradients, drawn anew in every epoch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from acs_fast._util.checks import check_choice, check_count, check_number
from acs_fast._util.randomness import derived_generator
from acs_fast.coreset import Coreset
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.selection.common import gradient_error
from acs_fast.selection.craig import METRICS, WEIGHTS, facility_location, nearest_selected


@dataclass
class Clusters:
    r"""A share of every cluster of gradients, its members drawn at random in every epoch.

    The clusters are those of few `facility_location` medoids, each sample with the nearest one of its class. Of a
    cluster with s members about

    .. math:: q \propto s^{p}, \qquad q \le s

    are drawn, so that with p = 0 every cluster has the same share of the coreset, however small it is: kinds of
    samples that hide inside a class count as much as the common ones. With p = 1 shares are proportional to sizes.

    Args:
        count: number of clusters, over all classes; None for one per sample of the coreset.
        power: p in [0, 1].
        weights: "equal" (all drawn samples count the same) or "size" (those of a cluster count as all its members, an
            unbiased estimate of the full gradient).
        metric, backend: see `facility_location`.
        per_class: cluster within each class, else over all samples.

    Raises:
        ValueError: an argument outside its range.

    Source: after Yang et al., "Identifying Spurious Biases Early in Training through the Lens of Simplicity Bias",
    2023 (arXiv 2305.18761), with facility location in place of k-means.
    """

    count: int | None = 100
    power: float = 0.0
    weights: str = "equal"
    metric: str = "euclidean"
    per_class: bool = True
    backend: str = "auto"
    needs_gradients = True
    lasts = "epoch"
    _latest: tuple[LastLayerGradients, int, Tensor, Coreset] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.count is not None:
            check_count("count", self.count, low=1)
        check_number("power", self.power, low=0.0, high=1.0)
        check_choice("weights", self.weights, WEIGHTS)
        check_choice("metric", self.metric, METRICS)

    def select(
        self, n: int, budget: int, gradients: LastLayerGradients | None, labels: Tensor | None, seed: int
    ) -> Coreset:
        """See `Selector.select`. For the same gradients the clusters are found once."""
        if gradients is None:
            raise ValueError("gradients must be given for Clusters; got None")
        cluster, medoids = self._clusters(gradients, min(self.count or budget, n), labels)
        sizes = torch.bincount(cluster)
        drawn = shares(sizes, budget, self.power)
        generator = derived_generator("clusters", seed)
        order = torch.randperm(n, generator=generator)
        order = order[cluster[order].argsort(stable=True)]  # by cluster, at random within each
        starts = sizes.cumsum(0) - sizes
        rank = torch.arange(n) - starts[cluster[order]]
        picks = order[rank < drawn[cluster[order]]]
        size_weights = (sizes / drawn)[cluster[picks]]
        weights = size_weights if self.weights == "size" else torch.full((len(picks),), n / len(picks))
        stats = {
            **medoids.stats, "budget": budget, "clusters": len(sizes),
            "relative_gradient_error": gradient_error(
                gradients, picks.to(gradients.device), weights.to(gradients.device)
            ),
        }  # fmt: skip
        return Coreset(picks, weights.float(), torch.zeros(len(picks)), stats)

    def _clusters(self, g: LastLayerGradients, count: int, labels: Tensor | None) -> tuple[Tensor, Coreset]:
        """[N] cluster numbers without gaps, and the medoids."""
        if self._latest is None or self._latest[0] is not g or self._latest[1] != count:
            groups = labels.to(g.device) if self.per_class and labels is not None else None
            medoids = facility_location(g, count, metric=self.metric, groups=groups, backend=self.backend)
            self._latest = (g, count, nearest_selected(g, medoids.indices, groups).cpu(), medoids.to("cpu"))
            return self._latest[2:]
        medoids = self._latest[3]
        return self._latest[2], replace(medoids, stats={**medoids.stats, "seconds": {}})


def shares(sizes: Tensor, budget: int, power: float) -> Tensor:
    """Shares of a budget for clusters: proportional to size^power, none above the size, the total exact.

    Args:
        sizes: [K] int64, >= 1.
        budget: at most the sum of the sizes.
        power: in [0, 1].

    Returns:
        [K] int64; at least one each where the budget allows. Equal remainders go to the lower number.
    """
    quota = sizes.double() ** power
    open_, drawn, left = torch.ones(len(sizes), dtype=torch.bool), torch.zeros(len(sizes), dtype=torch.float64), budget
    while left > 0 and bool(open_.any()):  # clusters that are full give what they cannot take to the others
        offer = torch.where(open_, quota, 0.0) * (left / float(quota[open_].sum()))
        full = open_ & (offer >= sizes)
        if not bool(full.any()):
            drawn[open_] = offer[open_]
            break
        drawn[full] = sizes[full].double()
        open_ &= ~full
        left = budget - int(drawn.sum())
    whole = drawn.floor().long()
    if budget >= len(sizes):
        whole.clamp_(min=1)
    return _exact(whole, drawn, sizes, budget)


def _exact(whole: Tensor, wanted: Tensor, sizes: Tensor, budget: int) -> Tensor:
    """Whole numbers near the wanted ones, between 0 (1 where all have one) and the sizes, whose sum is the budget."""
    while int(whole.sum()) != budget:
        missing = budget - int(whole.sum())
        gap = wanted - whole
        room = (whole < sizes) if missing > 0 else (whole > 1)
        candidates = torch.where(room, gap if missing > 0 else -gap, -torch.inf)
        chosen = candidates.sort(descending=True, stable=True).indices[: min(abs(missing), int(room.sum()))]
        whole[chosen] += 1 if missing > 0 else -1
    return whole
