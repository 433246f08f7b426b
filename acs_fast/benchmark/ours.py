"""The library's own way to do each task, by its public functions."""

from __future__ import annotations

from typing import Any

from torch import Tensor

import acs_fast as acs
from acs_fast.benchmark.problems import BETA, Problem
from acs_fast.ops import residuals
from acs_fast.ops.reference import residuals as reference


def craig(problem: Problem, backend: str, memory: int | None = None) -> acs.Coreset:
    return acs.facility_location(problem.g, problem.budget, groups=_groups(problem), memory=memory, backend=backend)


def greedy(problem: Problem, backend: str) -> acs.Coreset:
    assert problem.matrix is not None
    return acs.facility_location(problem.matrix, problem.budget, metric="precomputed", backend=backend)


def distances(problem: Problem, backend: str) -> Tensor:
    return acs.pairwise_distances(problem.g, backend=backend)


def matching(problem: Problem, backend: str) -> acs.Coreset:
    return acs.gradient_matching(problem.g, problem.budget, groups=_groups(problem), backend=backend)


def cross_entropy(problem: Problem, backend: str) -> Any:
    assert problem.logits is not None
    implementation = reference if backend == "reference" else residuals
    return implementation.cross_entropy_residuals(problem.logits[0], problem.labels)


def trades(problem: Problem, backend: str) -> Any:
    assert problem.logits is not None
    implementation = reference if backend == "reference" else residuals
    return implementation.trades_residuals(*problem.logits, problem.labels, BETA)


def _groups(problem: Problem) -> Tensor | None:
    return problem.labels if len(problem.groups) > 1 else None
