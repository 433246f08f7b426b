"""A peer's greedy on our reference distances."""

from __future__ import annotations

import acs_fast as acs
from acs_fast.benchmark.peers.dense import by_group
from acs_fast.benchmark.peers.submodlib import solve
from acs_fast.benchmark.problems import Problem, Selection


def craig(problem: Problem) -> Selection:
    return by_group(problem, lambda g: acs.pairwise_distances(g, backend="reference"), solve)
