"""Intervals, paired tests and their correction."""

import pytest

from benchmarks.experiments.results import Advantage, Record, advantage, holm, interval


def test_interval_is_students():
    found = interval([1.0, 2.0, 3.0])
    assert (found.mean, found.count) == (2.0, 3)
    assert found.half == pytest.approx(4.302653 / 3**0.5, abs=1e-5)
    assert interval([5.0]).half is None
    assert f"{found:+.1f}" == "+2.0 ± 2.5"


def test_advantage_is_a_one_sided_paired_test():
    records = [
        [Record("a", "", None, s, "done", result={"v": v}) for s, v in enumerate(values)]
        for values in ([3.0, 4.0, 6.0], [2.0, 2.0, 3.0])
    ]
    found = advantage(*records, lambda result: result["v"])
    assert found == Advantage(
        2.0, pytest.approx(2.0 - 2.919986 / 3**0.5, abs=1e-5), pytest.approx(0.037090, abs=1e-5), 3
    )
    assert advantage(records[0][:1], records[1][:1], lambda result: result["v"]) is None


def test_holm_keeps_the_order_of_the_tests():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
