"""submodlib's facility location with its lazy greedy (C++, one thread)."""

from __future__ import annotations

import numpy as np
from submodlib import FacilityLocationFunction

from benchmarks.peers import lazy
from benchmarks.problem import Problem, Selection


def craig(problem: Problem, how: str) -> Selection:
    return lazy.by_group(problem, how, solve)


def greedy(problem: Problem) -> Selection:
    assert problem.matrix is not None
    return lazy.on_matrix(problem.matrix, problem.budget, solve)


def solve(similarities: np.ndarray, budget: int) -> np.ndarray:
    n = len(similarities)
    if budget >= n:  # it wants a budget below N
        return np.arange(n)
    function = FacilityLocationFunction(n=n, mode="dense", sijs=similarities, separate_rep=False)
    ranking = function.maximize(
        budget=budget, optimizer="LazyGreedy", stopIfZeroGain=False, stopIfNegativeGain=False, show_progress=False
    )
    return np.array([index for index, _ in ranking])
