"""apricot's facility location with its lazy greedy (numba).

It compiles two kernels anew for every selector, one of which the lazy greedy never calls: two seconds of each call.
Here the one in use is compiled once, before anything is timed.
"""

from __future__ import annotations

import functools

import numpy as np
from apricot import FacilityLocationSelection
from apricot.functions import facilityLocation

from benchmarks.peers import lazy
from benchmarks.problem import Problem, Selection

facilityLocation.calculate_gains = functools.cache(facilityLocation.calculate_gains)
facilityLocation.calculate_gains(facilityLocation.dtypes, False, True, False)  # as the lazy greedy asks for it
facilityLocation.calculate_gains_sieve = lambda *_: None


def craig(problem: Problem, how: str) -> Selection:
    return lazy.by_group(problem, how, solve)


def greedy(problem: Problem) -> Selection:
    assert problem.matrix is not None
    return lazy.on_matrix(problem.matrix, problem.budget, solve)


def solve(similarities: np.ndarray, budget: int) -> np.ndarray:
    selector = FacilityLocationSelection(budget, metric="precomputed", optimizer="lazy")
    return selector.fit(similarities.astype(np.float64)).ranking
