"""apricot's facility location with its lazy greedy (numba).

It compiles its kernel anew for every selector (about a second). Here it is compiled once a process and not timed after
the first run: nobody's fault, and easily mended by a user.
"""

from __future__ import annotations

import functools

import numpy as np
from apricot import FacilityLocationSelection
from apricot.functions import facilityLocation

from benchmarks.peers import lazy
from benchmarks.problem import Problem, Selection

facilityLocation.calculate_gains = functools.cache(facilityLocation.calculate_gains)


def craig(problem: Problem, how: str) -> Selection:
    return lazy.by_group(problem, how, solve)


def greedy(problem: Problem) -> Selection:
    assert problem.matrix is not None
    return lazy.on_matrix(problem.matrix, problem.budget, solve)


def solve(similarities: np.ndarray, budget: int) -> np.ndarray:
    selector = FacilityLocationSelection(budget, metric="precomputed", optimizer="lazy")
    return selector.fit(similarities.astype(np.float64)).ranking
