"""The published recipe, written anew and corrected where the original crashes or returns weights of wrong samples.

CRAIG: distances by expanding blocks of gradients to N x M x P, then apricot's lazy greedy. The original squares the
distances; here they are Euclidean like everyone's, so that the objective can be compared.
GradMatch: orthogonal matching pursuit that forms the normal equations of all picks anew at each pick, solves them by
lstsq, and deletes the most negative weight until none is left.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acs_fast.benchmark.peers.dense import dense, on_matrix
from acs_fast.benchmark.problems import Problem, Selection

BLOCK = 128  # the mini-batch size, between which the original takes distances
TOLERANCE = 1e-4  # of the residual, relative to the target


def craig(problem: Problem) -> Selection:
    from acs_fast.benchmark.peers.apricot import solve

    parts = []
    for members, budget in zip(problem.groups, problem.budgets, strict=True):
        part = on_matrix(expanded_distances(dense(problem.g[members])), budget, solve)
        parts.append((members.cpu()[part.indices], part.weights))
    return Selection(*(torch.cat(x) for x in zip(*parts, strict=True)))


def expanded_distances(x: Tensor) -> Tensor:
    d = x.new_empty(len(x), len(x))
    for i in range(0, len(x), BLOCK):
        for j in range(0, len(x), BLOCK):
            a, b = x[i : i + BLOCK], x[j : j + BLOCK]
            shape = (len(a), len(b), x.shape[1])
            difference = a[:, None].expand(shape) - b[None].expand(shape)
            d[i : i + BLOCK, j : j + BLOCK] = difference.pow(2).sum(2).sqrt()
    return d


def matching(problem: Problem) -> Selection:
    parts = []
    for members, budget in zip(problem.groups, problem.budgets, strict=True):
        x = dense(problem.g[members])
        picks, weights = pursuit(x, x.sum(0), budget)
        parts.append((members[picks], weights))
    return Selection(*(torch.cat(x) for x in zip(*parts, strict=True)))


def pursuit(x: Tensor, target: Tensor, budget: int) -> tuple[Tensor, Tensor]:
    """Indices and weights of at most `budget` rows of x [N, P] whose weighted sum approximates the target [P]."""
    picks: list[int] = []
    weights = x.new_zeros(0)
    residual, limit = target.clone(), TOLERANCE * float(target.norm())
    for _ in range(budget):
        if float(residual.norm()) < limit:
            break
        pick = int((x @ residual).argmax())
        if pick in picks:
            break
        picks.append(pick)
        weights = normal_equations(x[picks], target)
        while len(picks) and float(weights.min()) < 0.0:
            del picks[int(weights.argmin())]
            weights = normal_equations(x[picks], target)
        residual = target - x[picks].T @ weights
    return torch.tensor(picks, dtype=torch.int64, device=x.device), weights


def normal_equations(atoms: Tensor, target: Tensor) -> Tensor:
    if not len(atoms):
        return atoms.new_zeros(0)
    return torch.linalg.lstsq(atoms @ atoms.T, (atoms @ target)[:, None]).solution[:, 0]
