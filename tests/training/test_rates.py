"""Learning rates as functions of the step."""

import pytest

from acs_fast.training.rates import LR_SCHEDULES, ramp, rate_factor


@pytest.mark.parametrize("name", LR_SCHEDULES)
def test_within_bounds_and_defined_everywhere(name):
    rates = [rate_factor(name, step, 20) for step in range(25)]
    assert all(0.0 <= r <= 1.0 for r in rates)
    assert max(rates) == 1.0
    assert len(set(rates[20:])) == 1
    assert rate_factor(name, 0, 0) >= 0.0


def test_shapes():
    assert [round(rate_factor("cosine", s, 4), 3) for s in (0, 2, 4)] == [1.0, 0.5, 0.0]
    assert [round(rate_factor("one-cycle", s, 10), 3) for s in (0, 3, 10)] == [0.0, 1.0, 0.0]
    assert [round(rate_factor("step", s, 100), 3) for s in (49, 50, 75)] == [1.0, 0.1, 0.01]
    with pytest.raises(ValueError, match="lr_schedule must be one of"):
        rate_factor("linear", 0, 1)


def test_ramp():
    assert [ramp(0.5, s, 4) for s in range(4)] == [0.5, 1.0, 1.0, 1.0]
    assert ramp(0.0, 0, 4) == 1.0
    with pytest.raises(ValueError, match="share must be"):
        ramp(2.0, 0, 4)
