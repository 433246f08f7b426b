"""Sampling designs: with what probability each sample is in an epoch's coreset, and how coresets are drawn by it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from acs_fast._util.randomness import derived_generator
from acs_fast.coreset import Coreset
from acs_fast.selection.groups import partition
from acs_fast.selection.selector import bare_stats

UNITS = 1 << 40  # probabilities are integers over this: sums are exact, and so are the budgets


@dataclass(frozen=True)
class Design:
    r"""Systematic sampling with given inclusion probabilities: no sample twice, always exactly k of them.

    The samples are laid side by side on a line, those of a stratum together and in a fresh random order, each as long
    as its probability; a comb of k teeth at distance 1 and with a random start picks those that it hits. A stratum
    whose probabilities sum to an integer gets exactly that many, any other at most one more or less. With weights
    ``scale_i / pi_i`` (Horvitz and Thompson) every weighted sum is unbiased, whatever the probabilities are:

    .. math:: E \sum_{i \in S} \frac{s_i}{\pi_i} v_i = \sum_i s_i v_i

    Attributes:
        units: [M] int64 in [1, UNITS]: inclusion probabilities times `UNITS`; they sum to k * UNITS.
        strata: [M] int64.
        members: [M] int64, which of the N samples.
        scale: [M] float64: how many samples each of the M stands for, 1 unless they are a sub-pool.
        n: N.
        stats: of the selection that the design came from.

    Source: Madow, "On the Theory of Systematic Sampling, II", Annals of Mathematical Statistics 1949.
    """

    units: Tensor
    strata: Tensor
    members: Tensor
    scale: Tensor
    n: int
    stats: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, units: Tensor, strata: Tensor | None = None, stats: dict[str, Any] | None = None) -> Design:
        """A design over the M samples of a pool, checked. Raises RuntimeError where it is not one."""
        m = len(units)
        strata = torch.zeros(m, dtype=torch.int64) if strata is None else strata.cpu()
        design = cls(units, strata, torch.arange(m), torch.ones(m, dtype=torch.float64), m, stats or {})
        return design.check()

    @property
    def budget(self) -> int:
        return int(self.units.sum()) // UNITS

    @property
    def probabilities(self) -> Tensor:
        """[M] float64."""
        return self.units.double() / UNITS

    def draw(self, seed: int) -> Coreset:
        """The coreset of a seed, its weights summing to N in the mean."""
        generator = derived_generator("design", seed)
        order = torch.randperm(len(self.units), generator=generator)
        order = order[self.strata[order].argsort(stable=True)]
        start = int(torch.randint(UNITS, (), generator=generator))
        teeth = (self.units[order].cumsum(0) - start + UNITS - 1).div(UNITS, rounding_mode="floor")
        picks = order[teeth.diff(prepend=teeth.new_zeros(1)) > 0]
        weights = self.scale[picks] / self.probabilities[picks]
        stats = bare_stats(self.budget, float(self.scale.sum()) / self.budget)
        coreset = Coreset(self.members[picks], weights.float(), torch.zeros(len(picks)), stats)
        return coreset.check(self.n, self.budget)

    def within(self, members: Tensor, scale: Tensor, n: int) -> Design:
        """The same design over a sub-pool: sample i of it is `members[i]` of n and stands for `scale[i]` of them."""
        return replace(self, members=members, scale=scale.double(), n=n)

    def check(self) -> Design:
        """Check the invariants and return it. Raises RuntimeError: a defect of the selector, never of its input."""
        total = int(self.units.sum())
        lengths = {len(x) for x in (self.units, self.strata, self.members, self.scale)}
        inside = bool(((self.units >= 1) & (self.units <= UNITS)).all())
        if len(lengths) != 1 or not inside or total % UNITS or total <= 0:
            raise RuntimeError(
                "internal error, please report it: a sampling design must have probabilities in (0, 1] with an integer "
                f"sum, one a sample; it has lengths {sorted(lengths)} and a sum of {total / UNITS}"
            )
        return self

    def state(self) -> dict[str, Any]:
        """Everything in it, to be saved."""
        tensors = {name: getattr(self, name).clone() for name in ("units", "strata", "members", "scale")}
        return {**tensors, "n": self.n, "stats": dict(self.stats)}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Design:
        tensors = {k: v.cpu() for k, v in state.items() if isinstance(v, Tensor)}
        return cls(**tensors, n=state["n"], stats=dict(state["stats"])).check()


def proportional(sizes: Tensor, budget: int, groups: Tensor | None = None) -> Tensor:
    r"""Units of inclusion probabilities ``min(1, c s_i)``, with the c that makes them sum to the budget.

    Args:
        sizes: [M] > 0.
        budget: in [1, M].
        groups: [M] integers: the budget is shared in proportion to the group sizes, and each has a c of its own.

    Returns:
        [M] int64.
    """
    sizes = sizes.detach().cpu().double()
    problems = partition(None if groups is None else groups.cpu(), len(sizes), torch.device("cpu"))
    units = torch.empty(len(sizes), dtype=torch.int64)
    for members, k in zip(problems, problems.share(budget).tolist(), strict=True):
        units[members] = _proportional(sizes[members], k)
    return units


def _proportional(sizes: Tensor, k: int) -> Tensor:
    certain = torch.zeros(len(sizes), dtype=torch.bool)
    while True:
        left = k - int(certain.sum())
        rest = float(sizes[~certain].sum())
        p = torch.where(certain, 1.0, sizes * (left / rest if left else 0.0))
        over = (p >= 1.0) & ~certain
        if not bool(over.any()) or not left:
            break
        certain |= over
    return _summing_to((p * UNITS).round().long().clamp_(1, UNITS), k * UNITS)


def one_of_each(strata: Tensor) -> Tensor:
    """Units of the design that draws one member of each stratum, all of them alike. [M] int64 -> [M] int64."""
    _, stratum, sizes = strata.unique(return_inverse=True, return_counts=True)
    order = stratum.argsort(stable=True)
    first = (sizes.cumsum(0) - sizes)[stratum[order]]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order)) - first
    size = sizes[stratum]
    units: Tensor = UNITS // size + (rank < UNITS % size).long()
    return units


def _summing_to(units: Tensor, total: int) -> Tensor:
    """Units moved by one here and there, within [1, UNITS], until rounding no longer shows in their sum."""
    while missing := total - int(units.sum()):
        sign = 1 if missing > 0 else -1
        room = (units < UNITS) & (units > (0 if sign > 0 else 1))  # what is certain stays so
        room = (room if bool(room.any()) else units > 1).nonzero().flatten()
        units[room[: abs(missing)]] += sign
    return units
