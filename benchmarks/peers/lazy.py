"""What every pipeline around a lazy facility location solver needs: distances per group, weights by nearest pick."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.peers.dense import pairwise
from benchmarks.problem import Problem, Selection

Solver = Callable[[np.ndarray, int], np.ndarray]  # similarities [N, N] and a budget to picks [k]


def by_group(problem: Problem, how: str, solve: Solver) -> Selection:
    """Factors in, coreset out: dense gradients, distances and greedy, one group after the other."""
    parts = []
    for members, budget in zip(problem.groups, problem.budgets, strict=True):
        g = problem.g[members] if len(problem.groups) > 1 else problem.g
        part = on_matrix(pairwise(g, how), budget, solve)
        parts.append((members.cpu()[part.indices], part.weights))
    return Selection(*(torch.cat(x) for x in zip(*parts, strict=True)))


def on_matrix(d: Tensor, budget: int, solve: Solver) -> Selection:
    d = d.cpu()
    picks = torch.as_tensor(solve((d.max() - d).numpy(), budget), dtype=torch.int64)
    nearest = d[picks].argmin(0)  # rows are contiguous, and the matrix is symmetric
    return Selection(picks, torch.bincount(nearest, minlength=len(picks)).float())
