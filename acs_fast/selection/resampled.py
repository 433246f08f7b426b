"""Selectors that pay for one selection and draw a coreset of it in every epoch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acs_fast._util.checks import check_choice, check_number
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.ops.backends import BACKENDS
from acs_fast.selection.craig import facility_location, nearest_selected
from acs_fast.selection.design import Design, one_of_each, proportional
from acs_fast.selection.selector import Choice, Pool


@dataclass(frozen=True)
class Resampled:
    """Base: `prepare` makes a `Design` of the gradients, and every epoch draws from it.

    Args:
        granularity: "class" or "global".
        backend: as in `facility_location`.
    """

    granularity: str = "class"
    backend: str = "auto"
    needs_gradients = True
    needs_labels = False  # they come with the gradients
    redraws = True
    fixed = False
    updates_for_free = False  # whether a design made anew from training passes in every epoch costs next to nothing

    def __post_init__(self) -> None:
        check_choice("granularity", self.granularity, ("class", "global"))
        check_choice("backend", self.backend, BACKENDS)

    def prepare(self, pool: Pool, fraction: float, seed: int) -> Design:
        """The sampling design of a period."""
        raise NotImplementedError(f"{type(self).__name__} must define prepare(pool, fraction, seed)")

    def choose(self, pool: Pool, fraction: float, seed: int) -> Choice:
        return Choice(self.prepare(pool, fraction, seed).draw(seed))

    def proportional_design(self, pool: Pool, sizes: Tensor, fraction: float) -> Design:
        """Inclusion probabilities in proportion to `sizes` [N], within each class with granularity "class"."""
        groups = self.groups_of(pool)
        return Design.of(proportional(sizes, max(1, int(fraction * pool.n)), groups), groups)

    def gradients_of(self, pool: Pool) -> LastLayerGradients:
        if pool.gradients is None:
            raise ValueError(f"pool must hold gradients for {type(self).__name__}; got none")
        return pool.gradients

    def groups_of(self, pool: Pool) -> Tensor | None:
        return pool.labels if self.granularity == "class" else None


@dataclass(frozen=True)
class CraigStrata(Resampled):
    """A fresh random member of each facility-location cluster, weighted by the cluster's size: unbiased.

    The clusters are those of `facility_location`, each sample with the selected one that is nearest to it. Samples of
    a cluster have similar gradients, so that a draw varies little; and all of them are seen in time.

    Args:
        metric: as in `facility_location`.
    """

    metric: str = "euclidean"

    def prepare(self, pool: Pool, fraction: float, seed: int) -> Design:
        g, groups = self.gradients_of(pool), self.groups_of(pool)
        centres = facility_location(g, fraction, metric=self.metric, groups=groups, backend=self.backend)
        strata = nearest_selected(g, centres.indices, groups).cpu()
        return Design.of(one_of_each(strata), strata, centres.stats)


@dataclass(frozen=True)
class Importance(Resampled):
    r"""Samples drawn with probability in proportion to the norm of their gradient, mixed with the uniform one.

    .. math:: p_i = \frac{\text{mix}}{N} + (1 - \text{mix}) \frac{\|g_i\|}{\sum_j \|g_j\|}, \qquad
              \pi_i = \min(1, c\, p_i), \qquad w_i = 1 / \pi_i

    drawn systematically (see `Design`): no duplicates, the budget exact, unbiased. With granularity "class" each class
    has its share of the budget and its own c.

    Args:
        mix: in (0, 1], which bounds the weights: with granularity "global" none exceeds N / (k mix).

    Source: Katharopoulos, Fleuret, "Not All Samples Are Created Equal", ICML 2018, Section 3.2.
    """

    mix: float = 0.3
    updates_for_free = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("mix", self.mix, low=0.0, high=1.0, above=True)

    def prepare(self, pool: Pool, fraction: float, seed: int) -> Design:
        norms = self.gradients_of(pool).squared_norms().double().clamp_min(0.0).sqrt()
        total = norms.sum()
        share = norms / total if float(total) > 0.0 else torch.full_like(norms, 1.0 / pool.n)
        sizes = self.mix / pool.n + (1.0 - self.mix) * share
        return self.proportional_design(pool, sizes, fraction)
