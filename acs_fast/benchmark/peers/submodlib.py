"""submodlib's facility location with its lazy greedy (C++, one thread)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from submodlib import FacilityLocationFunction

from acs_fast.benchmark.peers.dense import of_factors, of_matrix


def solve(similarities: Any, budget: int) -> Any:
    n = len(similarities)
    if budget >= n:  # it wants a budget below N
        return np.arange(n)
    function = FacilityLocationFunction(n=n, mode="dense", sijs=similarities, separate_rep=False)
    ranking = function.maximize(
        budget=budget, optimizer="LazyGreedy", stopIfZeroGain=False, stopIfNegativeGain=False, show_progress=False
    )
    return np.array([index for index, _ in ranking])


craig, greedy = partial(of_factors, solve=solve), partial(of_matrix, solve=solve)
