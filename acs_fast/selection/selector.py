"""What a selector is given, what it returns, and what it must say about itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor

from acs_fast._util.randomness import derived_seed
from acs_fast.coreset import Coreset
from acs_fast.gradients.factored import LastLayerGradients

GRANULARITIES = ("class", "batch", "global")


@dataclass(frozen=True)
class Pool:
    """What there is to choose from: N samples, and what is known about each.

    Attributes:
        n: N.
        labels: [N], for selectors that ask for them.
        gradients: of the N samples, for selectors that ask for them; the next two come with these.
        losses: [N] training losses.
        input_norms: [N] Euclidean norms of the gradient of the cross-entropy at the clean image; for selectors whose
            `needs_input_norms` is set.
    """

    n: int
    labels: Tensor | None = None
    gradients: LastLayerGradients | None = None
    losses: Tensor | None = None
    input_norms: Tensor | None = None


@dataclass(frozen=True)
class Choice:
    """A coreset of samples, and with batch granularity the mini-batches that it consists of."""

    coreset: Coreset
    batches: list[Tensor] | None = None

    def completed(self, n: int) -> Choice:
        """The choice as the loop needs it, whoever made it: checked, on the CPU, with every stat.

        Raises:
            RuntimeError: it is no coreset of n samples; see `Coreset.check`.
        """
        own = self.coreset.to("cpu").check(n)
        return replace(self, coreset=replace(own, stats={**bare_stats(len(own)), **own.stats}))


class Selector(Protocol):
    """Chooses `budget` of the samples in a pool; `seed` makes its random part repeatable.

    A selector may also have `fixed` (its first choice lasts for the whole run), `needs_input_norms`, and `cool_down`
    (see `Schedule`); without them the choice is fixed where it needs no gradients, and the others are off.
    """

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


def epoch_seed(seed: int, epoch: int) -> int:
    """The seed of a selection in an epoch."""
    return derived_seed("selection", seed, epoch)


def bare_stats(budget: int, unit_weight: float | None = None) -> dict[str, Any]:
    """Stats of a coreset that no kernel chose.

    Args:
        unit_weight: the weight that counts as 1 in training, where it is not the mean of the coreset's weights.
    """
    stats: dict[str, Any] = {"relative_gradient_error": None, "objective": None, "seconds": {}, "filled": 0}
    stats |= {"backend": "none", "path": "none", "peak_bytes": 0, "budget": budget}
    return stats if unit_weight is None else {**stats, "unit_weight": unit_weight}
