"""The work of a case: what goes wrong in a stage is a row."""

import pytest
import torch

from acs_fast.benchmark import Row, execute
from benchmarks.gpu import floors, measure
from benchmarks.gpu.cases import CASES, OPPONENTS, controls
from benchmarks.gpu.work import PICKS, PUBLIC, TORCH, Work


def test_the_public_call_is_timed_beside_the_operator():
    for case in CASES:
        assert case.opponents[:2] == (PUBLIC, "operator")
        assert case.judged in case.opponents
        found = Work(case.small()).public_call()
        assert found.stats["relative_gradient_error"] >= 0.0
        assert len(found.indices) == case.small().groups * case.small().picks


def measured(*cases, **more) -> list[Row]:
    """Rows of a rehearsal."""
    run = measure.begin(floors.Rates(), list(cases[:1]), True)
    return execute(run, cases, OPPONENTS, 1, say=lambda _: None, **more).rows


@pytest.mark.parametrize("error", [RuntimeError("no luck"), torch.OutOfMemoryError("4 GiB")])
def test_what_goes_wrong_in_a_stage_is_a_row_and_loses_none_of_the_others(monkeypatch, error):
    def fails(self):
        raise error

    monkeypatch.setattr(Work, "match", fails)
    public, operator = measured(CASES[3].small())
    assert (public.opponent, public.status) == (PUBLIC, "ok")
    assert operator.status == ("out of memory" if isinstance(error, torch.OutOfMemoryError) else "failed")
    assert str(error) in operator.reason
    monkeypatch.setattr(Work, "_factors", fails)
    rows = measured(CASES[0].small())
    assert [row.opponent for row in rows] == [*CASES[0].opponents]
    assert not any(row.ok for row in rows)


def test_what_there_is_no_time_for_is_a_row(tmp_path):
    small = CASES[0].small()
    rows = measured(small, *controls([small]), seconds=0.0)
    assert [row.opponent for row in rows] == [*small.opponents, PICKS, TORCH]
    assert {(row.status, row.reason) for row in rows} == {("not run", "no time left")}
