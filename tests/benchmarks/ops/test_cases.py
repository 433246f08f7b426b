"""The cases of the operators: every opponent and every backend can do what it is asked for."""

from __future__ import annotations

import pytest

from acs_fast.benchmark.suite import NO_KERNELS
from benchmarks import ops, peers


def test_every_opponent_has_a_function_for_its_tasks():
    for case in ops.CASES:
        for name in case.opponents:
            opponent = peers.OPPONENTS[name]
            if opponent.missing() is None:
                assert callable(opponent.solver(case.task)), (name, case.task)


@pytest.mark.parametrize("case", [*ops.CASES, *ops.QUICK], ids=lambda case: case.name)
def test_no_backend_is_asked_for_what_it_has_no_kernels_for(case):
    assert not {*NO_KERNELS[case.task]} & {*case.opponents}
