"""Bars and their verdicts."""

from __future__ import annotations

from dataclasses import replace

from acs_fast.benchmark import Row, runner
from benchmarks import bars, processes


def test_bars_are_judged_against_the_best_peer_and_sgemm(run):
    speedup, rate = bars.verdicts(run)
    assert speedup.met
    assert speedup.found == "10 times"
    assert "as fast as BLAS + submodlib lazy" in speedup.wanted
    assert rate.found == "80% (10 of 12 GFLOP/s)"  # half the products in 10 ms against all in 16 ms
    assert rate.met


def test_without_ours_a_bar_is_not_measured(run):
    rows = [row for row in run.rows if row.kind != "ours"]
    assert {v.met for v in bars.verdicts(replace(run, rows=rows))} == {None}


def test_memory_is_judged_against_that_of_one_process() -> None:
    case = next(c for c in processes.CASES if c.name == "processes-per-class")
    empty = runner.begin([case], processes.OPPONENTS, "cpu")
    rows = [
        Row(case.name, name, name, "ours", "ok", [1.0], peak) for name, peak in (("one", 100 << 20), ("two", 59 << 20))
    ]
    speedup, memory = bars.verdicts(replace(empty, rows=rows))
    assert (memory.met, memory.found) == (True, "0.59 (59 of 100 MiB)")
    assert (speedup.met, speedup.found) == (False, "1 times")
    (_, unknown) = bars.verdicts(replace(empty, rows=[replace(row, peak_bytes=None) for row in rows]))
    assert unknown.met is None
