"""Random subsets: the control for every claim."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acs_fast._util.checks import check_choice
from acs_fast._util.randomness import derived_generator
from acs_fast.coreset import Coreset
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.selection.groups import partition
from acs_fast.selection.selector import LASTS


@dataclass(frozen=True)
class Random:
    """Uniformly random samples of equal weight.

    Args:
        lasts: "epoch" (redrawn every epoch), "period" or "run" (drawn once).
        stratified: the same fraction of every class, weighted so that each class counts as in the full data.
    """

    lasts: str = "epoch"
    stratified: bool = False
    needs_gradients = False

    def __post_init__(self) -> None:
        check_choice("lasts", self.lasts, LASTS)

    def select(
        self, n: int, budget: int, gradients: LastLayerGradients | None, labels: Tensor | None, seed: int
    ) -> Coreset:
        """See `Selector.select`; gradients are ignored."""
        problems = partition(labels if self.stratified else None, n, torch.device("cpu"))
        shares = problems.share(budget)
        generator = derived_generator("random", seed)
        picks = [
            members[torch.randperm(len(members), generator=generator)[:k]]
            for members, k in zip(problems, shares.tolist(), strict=True)
        ]
        weights = (problems.sizes / shares).repeat_interleave(shares)
        return Coreset(torch.cat(picks), weights.float(), torch.zeros(len(weights)))
