"""Groups without picks, kept from the kernels of a GPU: those take a first pick for granted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acs_fast.ops.problems import Problems

Result = tuple[Tensor, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Picking:
    """Problems without empty groups, in which every group picks at least one sample.

    problems: the same members; offsets and budgets on the CPU.
    full: [G] which groups have members.
    idle: [G of `problems`] those that were to pick nothing: their one pick is taken back from the answer.
    """

    problems: Problems
    full: Tensor
    idle: Tensor

    @classmethod
    def of(cls, problems: Problems) -> Picking:
        offsets, budgets = problems.offsets.cpu(), problems.budgets.cpu()
        full = offsets.diff() > 0
        asked = budgets[full]
        spent = asked.clamp(min=1)
        some = Problems(problems.members, torch.cat([offsets[:1], offsets[1:][full]]), spent, int(spent.sum()))
        return cls(some, full, asked == 0)

    def answer(self, parts: list[Result], device: torch.device) -> Result:
        """What the problems as they came have for an answer, from that of `problems` in parts."""
        none = torch.zeros(0, dtype=torch.float64, device=device)
        nothing = (none.long(), none.float(), none, none)
        indices, weights, gains, objectives = (torch.cat(x) for x in zip(nothing, *parts, strict=True))
        if not bool(self.idle.any()) and bool(self.full.all()):
            return indices, weights, gains, objectives
        budgets = self.problems.budgets
        taken_back = (budgets.cumsum(0) - budgets)[self.idle]
        kept = torch.ones(len(gains), dtype=torch.bool)
        kept[taken_back] = False
        found = objectives.index_add(0, self.idle.nonzero()[:, 0].to(device), gains[taken_back.to(device)])
        whole = objectives.new_zeros(len(self.full)).masked_scatter(self.full.to(device), found)
        kept = kept.to(device)
        return indices[kept], weights[kept], gains[kept], whole
