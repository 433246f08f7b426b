"""The input of a case, built from its seed, and what an answer to it is worth: one float64 yardstick for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from acs_fast import LastLayerGradients
from acs_fast.selection.groups import Groups, partition
from benchmarks.cases import Case
from benchmarks.data import gradients

ROWS_AT_ONCE = 512
CHECKED_ROWS = 64


@dataclass(frozen=True)
class Problem:
    """Gradients, one selection problem per label with its budget, and for the task "greedy" the [N, N] matrix."""

    g: LastLayerGradients
    labels: Tensor
    groups: Groups
    budgets: list[int]
    budget: int
    matrix: Tensor | None

    @property
    def device(self) -> torch.device:
        return self.g.device


@dataclass(frozen=True)
class Selection:
    """What an opponent chose: indices [k] and weights [k], in any order."""

    indices: Tensor
    weights: Tensor


def build(case: Case, device: str) -> Problem:
    g, labels = gradients(case.n, case.classes, case.width, case.groups)
    g, labels = g.to(device), labels.to(device)
    groups = partition(labels, case.n, g.device)
    budget = max(case.budget, len(groups))
    budgets = [int(b) for b in groups.share(budget)]
    matrix = exact_distances(g, g).float() if case.task == "greedy" else None
    return Problem(g, labels, groups, budgets, budget, matrix)


def exact_distances(a: LastLayerGradients, b: LastLayerGradients) -> Tensor:
    """[N, M] float64 distances by the expansion, a block of rows at a time."""
    a, b = a.to(torch.float64), b.to(torch.float64)
    norms = b.squared_norms()
    blocks = []
    for start in range(0, len(a), ROWS_AT_ONCE):
        rows = a[start : start + ROWS_AT_ONCE]
        squared = rows.squared_norms()[:, None] + norms - 2.0 * rows.gram(b)
        blocks.append(squared.clamp_(min=0.0).sqrt_())
    return torch.cat(blocks)


def quality(case: Case, problem: Problem, answer: Any) -> dict[str, float]:
    """Numbers beside the times: what an answer is worth, whoever gave it."""
    if case.task == "distances":
        return _distance_error(problem, answer)
    selection = Selection(answer.indices.to(problem.device), answer.weights.to(problem.device, torch.float64))
    result = {"picks": float(len(selection.indices)), "repeated": _repeated(selection.indices)}
    if case.task == "greedy":
        assert problem.matrix is not None
        best = problem.matrix[:, selection.indices].amin(1)
        return result | {"objective": float(best.sum(dtype=torch.float64))}
    result |= {
        "gradient_error": _gradient_error(problem.g, selection),
        "negative": float((selection.weights < 0).sum()),
    }
    if result["negative"]:
        usable = Selection(selection.indices, selection.weights.clamp(min=0.0))
        result["gradient_error_without_negative"] = _gradient_error(problem.g, usable)
    return result if case.task == "matching" else result | {"objective": _objective(problem, selection)}


def _repeated(indices: Tensor) -> float:
    return float(len(indices) - len(indices.unique()))


def _objective(problem: Problem, selection: Selection) -> float:
    """sum_i min_{j in S} d(g_i, g_j), each sample among the picks of its own group."""
    total = 0.0
    for members in problem.groups:
        label = problem.labels[members[0]]
        own = selection.indices[problem.labels[selection.indices] == label]
        total += float(exact_distances(problem.g[members], problem.g[own]).amin(1).sum())
    return total


def _gradient_error(g: LastLayerGradients, selection: Selection) -> float:
    """||sum_S w g - sum g|| / ||sum g||."""
    full = g.to(torch.float64).total()
    chosen = g[selection.indices].to(torch.float64).total(selection.weights)
    return float((chosen - full).norm() / full.norm())


def _distance_error(problem: Problem, answer: Any) -> dict[str, float]:
    """The largest error among some rows, relative to the mean distance in them; nothing for an answer of None."""
    if answer is None:
        return {}
    rows = torch.linspace(0, len(problem.g) - 1, min(CHECKED_ROWS, len(problem.g))).long().to(problem.device)
    exact = exact_distances(problem.g[rows], problem.g)
    exact[torch.arange(len(rows), device=rows.device), rows] = 0.0
    return {"max_error": float((answer[rows].double() - exact).abs().max() / exact.mean())}
