"""Distances on dense gradients by PyTorch alone: `torch.cdist`, or the expansion by one BLAS product."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from acs_fast.benchmark.problems import Problem, Selection
from acs_fast.gradients.factored import LastLayerGradients

Solver = Callable[[Any, int], Any]  # similarities [N, N] as an array and a budget to picks [k]


def distances(problem: Problem, how: str) -> Tensor:
    return pairwise(problem.g, how)


def dense(g: LastLayerGradients) -> Tensor:
    """[N, C*D + C] gradients of one head pass, written once into the memory they stay in."""
    r, h = g.residuals[:, 0], g.features[:, 0]
    (n, c), d = r.shape, h.shape[1]
    x = r.new_empty(n, c * d + c)
    torch.mul(r[:, :, None], h[:, None, :], out=x[:, : c * d].unflatten(1, (c, d)))
    x[:, c * d :] = r
    return x


def pairwise(g: LastLayerGradients, how: str) -> Tensor:
    """[N, N], in place wherever that saves a pass or memory."""
    x = dense(g)
    if how == "cdist":
        return torch.cdist(x, x)
    norms = torch.linalg.vector_norm(x, dim=1).square_()
    squared = torch.addmm(norms, x, x.T, alpha=-2.0).add_(norms[:, None])
    return squared.clamp_(min=0.0).sqrt_().fill_diagonal_(0.0)


def of_factors(problem: Problem, how: str, solve: Solver) -> Selection:
    return by_group(problem, partial(pairwise, how=how), solve)


def of_matrix(problem: Problem, solve: Solver) -> Selection:
    assert problem.matrix is not None
    return on_matrix(problem.matrix, problem.budget, solve)


def by_group(problem: Problem, distances: Callable[[LastLayerGradients], Tensor], solve: Solver) -> Selection:
    """Factors in, coreset out: distances and a facility-location solver, one group after the other."""
    parts = []
    for members, budget in zip(problem.groups, problem.budgets, strict=True):
        g = problem.g[members] if len(problem.groups) > 1 else problem.g
        part = on_matrix(distances(g), budget, solve)
        parts.append((members.cpu()[part.indices], part.weights))
    return Selection(*(torch.cat(x) for x in zip(*parts, strict=True)))


def on_matrix(d: Tensor, budget: int, solve: Solver) -> Selection:
    """Picks of a solver that maximises similarities, and weights by the nearest pick."""
    d = d.cpu()
    picks = torch.as_tensor(solve((d.max() - d).numpy(), budget), dtype=torch.int64)
    nearest = d[picks].argmin(0)  # rows are contiguous, and the matrix is symmetric
    return Selection(picks, torch.bincount(nearest, minlength=len(picks)).float())
