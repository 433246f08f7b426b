"""Rows: spread, ratios, and which answers are the same or as good."""

from __future__ import annotations

import pytest

from acs_fast.benchmark.rows import Row, as_good, difference


def row(seconds=(), kind="ours", **quality) -> Row:
    return Row("c", "o", "t", kind, "ok", seconds=list(seconds), quality=quality)


def test_percentiles_interpolate():
    found = row([4.0, 1.0, 3.0, 2.0, 5.0])
    assert (found.percentile(20), found.median, found.percentile(80)) == (1.8, 3.0, 4.2)


def test_ratios_are_of_all_pairs():
    assert sorted(row([1.0, 2.0]).ratios(row([4.0, 6.0]))) == [2.0, 3.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("own", "reference", "same"),
    [
        ({"objective": 10.0}, {"objective": 10.001}, True),
        ({"objective": 9.9}, {"objective": 10.0}, False),
        ({"checksum": 1.0}, {"checksum": 2.0}, False),
        ({"max_error": 1e-6}, {"max_error": 1e-7}, True),
        ({}, {"objective": 1.0}, False),
        ({"objective": float("nan")}, {"objective": 1.0}, False),
    ],
)
def test_difference_is_two_sided(own, reference, same):
    assert (difference(row(**own), row(**reference)) == "") is same


def test_as_good_is_one_sided():
    assert as_good(row(objective=9.0), row(objective=10.0))
    assert not as_good(row(objective=10.0), row(objective=9.0))
    assert as_good(row(gain=1.0), row(gain=0.9))
    assert not as_good(row(gain=0.8), row(gain=0.9))
    assert as_good(row(gradient_error=0.1, negative=0.0), row(gradient_error=0.2, negative=3.0))
