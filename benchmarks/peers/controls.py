"""No rivals: the machine's matrix product rate, and as many samples of each group at random with equal weights."""

from __future__ import annotations

import torch
from torch import Tensor

from acs_fast.benchmark.problems import Problem, Selection

_OUT: list[Tensor] = []


def distances(problem: Problem) -> None:
    """The two Gram products of the factors, all entries, and nothing else."""
    r, h = problem.g.residuals[:, 0], problem.g.features[:, 0]
    if not _OUT:
        _OUT.extend(torch.empty(len(r), len(r), device=r.device) for _ in range(2))
    torch.mm(r, r.T, out=_OUT[0])
    torch.mm(h, h.T, out=_OUT[1])


def craig(problem: Problem) -> Selection:
    generator = torch.Generator().manual_seed(0)
    parts = []
    for members, budget in zip(problem.groups, problem.budgets, strict=True):
        picks = members.cpu()[torch.randperm(len(members), generator=generator)[:budget]]
        parts.append((picks, torch.full((budget,), len(members) / budget)))
    return Selection(*(torch.cat(x) for x in zip(*parts, strict=True)))


greedy = craig
