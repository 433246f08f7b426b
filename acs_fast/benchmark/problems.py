"""Cases over operators: the input, built from its seed, and the worth of an answer by one float64 yardstick."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from acs_fast.benchmark.case import Case
from acs_fast.benchmark.data import gradients
from acs_fast.benchmark.opponents import Opponent
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.selection.common import gradient_error
from acs_fast.selection.groups import Groups, partition

ROWS_AT_ONCE = 512
CHECKED_ROWS = 64
BETA = 6.0  # of TRADES
RESIDUALS = ("cross_entropy", "trades")


@dataclass(frozen=True)
class OpCase(Case):
    """One measurement of several opponents on the same input.

    Attributes:
        task: "craig" (factors in, coreset out), "greedy" (distance matrix in, coreset out), "distances" (factors in,
            matrix out), "matching" (factors in, weighted coreset out), "cross_entropy" or "trades" (logits in,
            residuals out).
        n, classes, width: N, C and D of the gradients; with a bias.
        budget: k.
        groups: labels among the samples, each its own selection problem.
        dtype: of the factors and logits.
    """

    task: str
    n: int
    classes: int
    width: int
    budget: int
    groups: int = 1
    dtype: str = "float32"

    @property
    def size(self) -> str:
        groups = f" in {self.groups} classes" if self.groups > 1 else ""
        width = "" if self.task in RESIDUALS else f", D = {self.width:,}"
        budget = f", k = {self.budget:,}" if self.budget else ""
        dtype = "" if self.dtype == "float32" else f", {self.dtype}"
        return f"N = {self.n:,}{groups}, C = {self.classes:,}{width}{budget}{dtype}"

    def prepare(self, opponent: Opponent, device: str) -> Solving:
        return Solving(self, build(self, device), opponent.solver(self.task))


@dataclass(frozen=True)
class Problem:
    """Gradients, one selection problem per label with its budget, and what else the task takes.

    Attributes:
        matrix: [N, N] distances, for the task "greedy".
        logits: clean and adversarial, [N, C] each, for tasks over residuals.
    """

    g: LastLayerGradients
    labels: Tensor
    groups: Groups
    budgets: list[int]
    budget: int
    matrix: Tensor | None = None
    logits: tuple[Tensor, Tensor] | None = None

    @property
    def device(self) -> torch.device:
        return self.g.device


@dataclass(frozen=True)
class Selection:
    """What an opponent chose: indices [k] and weights [k], in any order."""

    indices: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Solving:
    """An opponent at work on a case: `run` is timed, `judge` is not."""

    case: OpCase
    problem: Problem
    solve: Any

    def run(self) -> Any:
        return self.solve(self.problem)

    def judge(self, answer: Any) -> dict[str, float]:
        return quality(self.case, self.problem, answer)


def build(case: OpCase, device: str) -> Problem:
    """The input of a case."""
    dtype = getattr(torch, case.dtype)
    g, labels = gradients(case.n, case.classes, case.width, case.groups)
    g, labels = g.to(device, dtype), labels.to(device)
    groups = partition(labels, case.n, g.device)
    budget = max(case.budget, len(groups))
    budgets = [int(b) for b in groups.share(budget)]
    matrix, logits = None, None
    if case.task == "greedy":
        matrix = exact_distances(g, g).to(torch.promote_types(dtype, torch.float32))
    elif case.task in RESIDUALS:
        generator = torch.Generator().manual_seed(1)
        clean, moved = (2.0 * torch.randn(case.n, case.classes, generator=generator) for _ in range(2))
        logits = clean.to(device, dtype), (clean + 0.5 * moved).to(device, dtype)
    return Problem(g, labels, groups, budgets, budget, matrix, logits)


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


def quality(case: OpCase, problem: Problem, answer: Any) -> dict[str, float]:
    """What an answer is worth, whoever gave it; nothing for an answer of None."""
    if answer is None:
        return {}
    if case.task in RESIDUALS:
        return _residual_error(case.task, problem, answer)
    if case.task == "distances":
        return _distance_error(problem, answer)
    picks, weights = answer.indices.to(problem.device), answer.weights.to(problem.device, torch.float64)
    found = {"picks": float(len(picks)), "repeated": float(len(picks) - len(picks.unique()))}
    if case.task == "greedy":
        assert problem.matrix is not None
        objective = float(problem.matrix[:, picks].amin(1).sum(dtype=torch.float64))
        return found | {"objective": objective, "checksum": float(zlib.crc32(picks.cpu().numpy().tobytes()))}
    found |= {"gradient_error": gradient_error(problem.g, picks, weights), "negative": float((weights < 0).sum())}
    if found["negative"]:
        found["gradient_error_without_negative"] = gradient_error(problem.g, picks, weights.clamp(min=0.0))
    return found if case.task == "matching" else found | {"objective": _objective(problem, picks)}


def _objective(problem: Problem, picks: Tensor) -> float:
    """sum_i min_{j in S} d(g_i, g_j), each sample among the picks of its own group."""
    total = 0.0
    for members in problem.groups:
        own = picks[problem.labels[picks] == problem.labels[members[0]]]
        total += float(exact_distances(problem.g[members], problem.g[own]).amin(1).sum())
    return total


def _distance_error(problem: Problem, answer: Tensor) -> dict[str, float]:
    """The largest error among some rows, relative to the mean distance in them."""
    rows = torch.linspace(0, len(problem.g) - 1, min(CHECKED_ROWS, len(problem.g))).long().to(problem.device)
    exact = exact_distances(problem.g[rows], problem.g)
    exact[torch.arange(len(rows), device=rows.device), rows] = 0.0
    return {"max_error": float((answer[rows].double() - exact).abs().max() / exact.mean())}


def _residual_error(task: str, problem: Problem, answer: Tensor) -> dict[str, float]:
    """The largest error of residuals, by autograd in float64."""
    assert problem.logits is not None
    clean, adversarial = (x.detach().to(torch.float64).requires_grad_() for x in problem.logits)
    loss = torch.nn.functional.cross_entropy(clean, problem.labels, reduction="sum")
    if task == "trades":
        p, q = clean.log_softmax(1), adversarial.log_softmax(1)
        loss = loss + BETA * (p.exp() * (p - q)).sum()
    views = (clean, adversarial) if task == "trades" else (clean,)
    exact = torch.stack(torch.autograd.grad(loss, views), 1)
    return {"max_error": float((answer.double().reshape(exact.shape) - exact).abs().max())}
