"""Kinds of epochs, and when a selection is due."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acs_fast import Schedule


def test_published_example():
    schedule = Schedule.published(epochs=120, fraction=0.5, period=20, warm_start=0.5)
    assert schedule.epochs == [*range(30), *range(60, 120)]
    assert sorted(schedule.due) == [60, 80, 100]
    assert [schedule.kind(e) for e in (0, 29, 30, 59, 60, 119)] == ["full"] * 2 + ["skipped"] * 2 + ["coreset"] * 2


@pytest.mark.parametrize(
    ("arguments", "epochs"),
    [
        ((4, 0.5, 2, 0.0), [0, 1, 2, 3]),
        ((4, 0.5, 2, 1.0), [0, 1]),
        ((4, 1.0, 2, 1.0), [0, 1, 2, 3]),
        ((10, 0.1, 3, 0.3), [3, 4, 5, 6, 7, 8, 9]),
        ((1, 0.5, 1, 0.5), [0]),
    ],
)
def test_edges(arguments, epochs):
    assert Schedule.published(*arguments).epochs == epochs


@given(st.integers(1, 200), st.integers(1, 50), st.floats(0, 1), st.floats(0.01, 1))
def test_cost_is_the_fraction_of_full_training(epochs, period, warm_start, fraction):
    schedule = Schedule.published(epochs, fraction, period, warm_start)
    kinds = [schedule.kind(e) for e in schedule.epochs]
    assert schedule.cost(fraction) == pytest.approx(kinds.count("full") + fraction * kinds.count("coreset"))
    assert abs(schedule.cost(fraction) - fraction * epochs) <= 0.5 + 1e-9  # the warm start is rounded to whole epochs
    assert "skipped" not in kinds
    if "coreset" in kinds:
        assert schedule.kinds.index("coreset") in schedule.due


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.3, 0.5])
def test_refreshing_costs_the_same(fraction):
    """Within one full epoch for the warm start and the rounding of every refresh."""
    plain, other = (make(60, fraction, 4, 0.3) for make in (Schedule.published, Schedule.refreshing))
    refreshes = other.kinds[18:].count("full")
    slack = 1.0 + refreshes * abs(1.0 - fraction * round(1.0 / fraction))
    assert abs(other.cost(fraction) - plain.cost(fraction)) <= slack
    assert len(other.kinds) == 60
    assert refreshes > 0


def test_refreshing_by_hand():
    schedule = Schedule.refreshing(24, 0.25, period=3, warm_start=0.3)
    expected = ["full"] * 2 + ["skipped"] * 5 + ["coreset"] * 3 + (["full"] + ["skipped"] * 3 + ["coreset"] * 3) * 2
    assert list(schedule.kinds) == expected
    assert sorted(schedule.due) == [7, 14, 21]
    assert [schedule.last_due(e) for e in (6, 7, 13, 14, 23)] == [-1, 7, 7, 14, 21]


def test_refreshing_without_a_warm_start_begins_with_full_data():
    schedule = Schedule.refreshing(10, 0.5, period=2, warm_start=0.0)
    assert schedule.kinds == ("full", "skipped", "coreset", "coreset") * 2 + ("coreset",) * 2
    assert sorted(schedule.due) == [2, 6]


def test_every_epoch_on_all_data():
    schedule = Schedule.every(6, period=2, warm_start=0.2)
    assert schedule.kinds == ("full", *["selective"] * 5)
    assert sorted(schedule.due) == [1, 3, 5]
    assert schedule.cost(0.1) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.5, 1, 0.5), "epochs must be at least 1; got 0"),
        ((1, 0.5, 0, 0.5), "period must be at least 1"),
        ((1, 0.5, 1, 1.5), r"warm_start must be finite and in \[0, 1\]; got 1.5"),
        ((1, 0.0, 1, 0.5), r"fraction must be finite and in \(0, 1\]; got 0.0"),
    ],
)
def test_bad_values_are_named(arguments, message):
    for make in (Schedule.published, Schedule.refreshing):
        with pytest.raises(ValueError, match=message):
            make(*arguments)


@pytest.mark.parametrize(
    ("kinds", "due", "message"),
    [
        ((), (), "epochs must be at least 1"),
        (("full", "half"), (), "kinds must be one of"),
        (("full", "coreset"), (0,), "due must hold coreset and selective epochs; got 0"),
        (("coreset",), (1,), "due must hold coreset and selective epochs; got 1"),
    ],
)
def test_bad_tuples_are_named(kinds, due, message):
    with pytest.raises(ValueError, match=message):
        Schedule(kinds, frozenset(due))


def test_numbers_beyond_reason_cost_nothing():
    for make in (Schedule.published, Schedule.refreshing):
        with pytest.raises(ValueError, match="epochs must be at most 1,000,000; got 18273355432"):
            make(18_273_355_432, 0.5)
        assert make(4, 0.5, 10**12, 0.0).kinds == make(4, 0.5, 4, 0.0).kinds
    assert Schedule.refreshing(4, 1e-320, 2, 0.0).kinds == ("full", "skipped", "skipped", "skipped")
