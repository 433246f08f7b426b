"""The published schedule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acs_fast import Schedule


def test_published_example():
    schedule = Schedule(epochs=120, period=20, warm_start=0.5, fraction=0.5)
    assert schedule.training_epochs == [*range(30), *range(60, 120)]
    assert [e for e in range(120) if schedule.selection_due(e)] == [60, 80, 100]
    assert [schedule.kind(e) for e in (0, 29, 30, 59, 60, 119)] == ["full"] * 2 + ["skipped"] * 2 + ["coreset"] * 2


@pytest.mark.parametrize(
    ("arguments", "epochs"),
    [
        ((4, 2, 0.0, 0.5), [0, 1, 2, 3]),
        ((4, 2, 1.0, 0.5), [0, 1]),
        ((4, 2, 1.0, 1.0), [0, 1, 2, 3]),
        ((10, 3, 0.3, 0.1), [3, 4, 5, 6, 7, 8, 9]),
        ((1, 1, 0.5, 0.5), [0]),
    ],
)
def test_edges(arguments, epochs):
    assert Schedule(*arguments).training_epochs == epochs


@given(st.integers(1, 200), st.integers(1, 50), st.floats(0, 1), st.floats(0.01, 1))
def test_cost_is_the_fraction_of_full_training(epochs, period, warm_start, fraction):
    schedule = Schedule(epochs, period, warm_start, fraction)
    kinds = [schedule.kind(e) for e in schedule.training_epochs]
    cost = kinds.count("full") + fraction * kinds.count("coreset")
    assert abs(cost - fraction * epochs) <= 0.5 + 1e-9  # the warm start is rounded to whole epochs
    assert kinds.count("skipped") == 0
    if "coreset" in kinds:
        assert schedule.selection_due(schedule.first_coreset_epoch)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 0.5, 0.5), "epochs must be at least 1; got 0"),
        ((1, 0, 0.5, 0.5), "period must be at least 1"),
        ((1, 1, 1.5, 0.5), r"warm_start must be finite and in \[0, 1\]; got 1.5"),
        ((1, 1, 0.5, 0.0), r"fraction must be finite and in \(0, 1\]; got 0.0"),
    ],
)
def test_bad_values_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Schedule(*arguments)
