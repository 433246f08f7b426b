"""Random subsets: the control that every claim is measured against."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from acs_fast._util.randomness import derived_generator
from acs_fast.coreset import Coreset
from acs_fast.selection.groups import partition
from acs_fast.selection.selector import Choice, Pool, bare_stats


@dataclass(frozen=True)
class Random:
    """Uniformly random samples of equal weight.

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
        labels = None if pool.labels is None else pool.labels.cpu()
        problems = partition(labels if self.stratified else None, pool.n, torch.device("cpu"))
        shares = problems.share(max(1, int(fraction * pool.n)))
        generator = derived_generator("random", seed)
        picks = [
            members[torch.randperm(len(members), generator=generator)[:k]]
            for members, k in zip(problems, shares.tolist(), strict=True)
        ]
        weights = (problems.sizes / shares).repeat_interleave(shares)
        budget = int(shares.sum())
        coreset = Coreset(torch.cat(picks), weights.float(), torch.zeros(len(weights)), bare_stats(budget))
        return Choice(coreset.check(pool.n, budget, weight_sum=pool.n))
