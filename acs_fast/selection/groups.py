"""Independent selection problems, one per group, with a shared budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from acs_fast._util.checks import as_tensor
from acs_fast.ops.problems import Problems


@dataclass(frozen=True)
class Groups:
    """G non-empty groups of N samples in ascending order of their id.

    members: [N] sample numbers, those of one group side by side, ascending within each.
    offsets: [G + 1] on the CPU; group i is members[offsets[i]:offsets[i + 1]].
    """

    members: Tensor
    offsets: Tensor

    @property
    def sizes(self) -> Tensor:
        return self.offsets.diff()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[Tensor]:
        return (self.members[a:b] for a, b in pairwise(self.offsets.tolist()))

    def of(self, budgets: Tensor) -> Problems:
        """The problems of picking budgets[i] samples, [G] int64 on the CPU, within each group."""
        return Problems(self.members, self.offsets, budgets, int(budgets.sum()))

    def share(self, budget: int) -> Tensor:
        """Share a budget in proportion to the sizes: largest remainders, at least one each, the total exact.

        Returns:
            [G] int64 on the CPU. Equal remainders go to the lower group.

        Raises:
            ValueError: the budget is smaller than the number of groups.
        """
        if budget < len(self):
            raise ValueError(
                f"budget must be at least the number of groups, {len(self)}, so that each is represented; "
                f"got {budget}. Raise the budget or select over all samples together (per_class=False)"
            )
        quotas = [(int(s) * budget, int(self.offsets[-1])) for s in self.sizes]  # exact fractions
        shares = [numerator // n for numerator, n in quotas]
        by_remainder = sorted(range(len(self)), key=lambda i: (-(quotas[i][0] % quotas[i][1]), i))
        for i in by_remainder[: budget - sum(shares)]:
            shares[i] += 1
        for i in (i for i, s in enumerate(shares) if s == 0):
            # the richest relative to its quota gives one up
            donor = max(
                (j for j in range(len(self)) if shares[j] > 1),
                key=lambda j: (shares[j] * quotas[j][1] - quotas[j][0], -j),
            )
            shares[donor] -= 1
            shares[i] = 1
        return torch.tensor(shares)


def partition(groups: Any, n: int, device: torch.device) -> Groups:
    """Split N samples by their group id; None means one group of all.

    Raises:
        TypeError: ids are no integers.
        ValueError: not one id per sample.
    """
    if groups is None:
        return Groups(torch.arange(n, device=device), torch.tensor([0, n]))
    groups = as_tensor("groups", groups)
    if groups.dtype.is_floating_point or groups.dtype.is_complex:
        raise TypeError(f"groups must hold integers; got {groups.dtype}")
    groups = groups.to(torch.int64)
    if groups.shape != (n,):
        raise ValueError(f"groups must have shape [{n}], one id per sample; got {list(groups.shape)}")
    members = torch.argsort(groups.to(device), stable=True)
    sizes = torch.unique(groups, return_counts=True)[1].cpu()
    return Groups(members, torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)]))
