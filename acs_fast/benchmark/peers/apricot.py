"""apricot's facility location with its lazy greedy (numba).

It compiles two kernels anew for every selector, one of which the lazy greedy never calls: two seconds of each call.
Here the one in use is compiled once, before anything is timed.
"""

from __future__ import annotations

import functools
from functools import partial
from typing import Any

import numpy as np
from apricot import FacilityLocationSelection
from apricot.functions import facilityLocation

from acs_fast.benchmark.peers.dense import by_group, on_matrix, pairwise
from acs_fast.benchmark.problems import Problem, Selection

facilityLocation.calculate_gains = functools.cache(facilityLocation.calculate_gains)
facilityLocation.calculate_gains(facilityLocation.dtypes, False, True, False)  # as the lazy greedy asks for it
facilityLocation.calculate_gains_sieve = lambda *_: None


def craig(problem: Problem, how: str) -> Selection:
    return by_group(problem, partial(pairwise, how=how), solve)


def greedy(problem: Problem) -> Selection:
    assert problem.matrix is not None
    return on_matrix(problem.matrix, problem.budget, solve)


def solve(similarities: Any, budget: int) -> Any:
    selector = FacilityLocationSelection(budget, metric="precomputed", optimizer="lazy")
    return selector.fit(similarities.astype(np.float64)).ranking
