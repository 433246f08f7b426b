"""The control: as many samples of each group at random, all with the same weight."""

from __future__ import annotations

import torch

from benchmarks.problem import Problem, Selection


def craig(problem: Problem) -> Selection:
    generator = torch.Generator().manual_seed(0)
    parts = []
    for members, budget in zip(problem.groups, problem.budgets, strict=True):
        picks = members.cpu()[torch.randperm(len(members), generator=generator)[:budget]]
        parts.append((picks, torch.full((budget,), len(members) / budget)))
    return Selection(*(torch.cat(x) for x in zip(*parts, strict=True)))


greedy = matching = craig
