"""The library itself, by its public functions; `backend` is one of `acs_fast.ops.backends.BACKENDS`."""

from __future__ import annotations

from torch import Tensor

import acs_fast
from acs_fast.ops import backends
from benchmarks.problem import Problem


def craig(problem: Problem, backend: str) -> acs_fast.Coreset:
    groups = problem.labels if len(problem.groups) > 1 else None
    return acs_fast.facility_location(problem.g, problem.budget, groups=groups, backend=backend)


def greedy(problem: Problem, backend: str) -> acs_fast.Coreset:
    assert problem.matrix is not None
    return acs_fast.facility_location(problem.matrix, problem.budget, metric="precomputed", backend=backend)


def distances(problem: Problem, backend: str) -> Tensor:
    g = problem.g
    name = backends.chosen("pairwise_distances", backend, g.device)
    return backends.run("pairwise_distances", name, g.residuals, g.features, g.bias, False)


def matching(problem: Problem, backend: str) -> acs_fast.Coreset:
    groups = problem.labels if len(problem.groups) > 1 else None
    return acs_fast.gradient_matching(problem.g, problem.budget, groups=groups, backend=backend)
