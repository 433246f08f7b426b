"""The suite of selection across processes: shared work, measured in every process."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from acs_fast.benchmark import Run, execute, runner
from benchmarks import processes
from benchmarks.processes.ranks import Ranks

QUICK = {case.name: case for case in processes.QUICK}


@pytest.fixture(scope="module")
def run() -> Run:
    cases = [replace(QUICK[name], opponents=("one", "two")) for name in ("processes-per-class", "processes-global")]
    return execute(
        runner.begin(cases, processes.OPPONENTS, "cpu"), cases, processes.OPPONENTS, 2, say=lambda text: None
    )


@pytest.mark.ordinary_memory
def test_one_and_two_processes_answer_alike_and_say_what_they_took(run: Run) -> None:
    assert [row.status for row in run.rows] == ["ok"] * 4, [row.reason for row in run.rows]
    for name in ("processes-per-class", "processes-global"):
        one, two = run.of_case(name)
        assert one.quality == two.quality
        assert len(one.seconds) == len(two.seconds) == 2


def test_a_process_that_ends_is_named() -> None:
    ranks = QUICK["processes-per-class"].prepare(processes.OPPONENTS["two"], "cpu")
    assert isinstance(ranks, Ranks)
    ranks._processes[1].send_signal(signal.SIGKILL)
    with pytest.raises((RuntimeError, BrokenPipeError), match=r"process \d of 2 ended|Broken pipe"):
        ranks.run()


def test_half_of_the_work() -> None:
    halves = {case.work: case.halved() for case in processes.CASES}
    assert (halves["per-class"].n, halves["per-class"].classes) == (25_000, 5)
    assert halves["attack"].n == 1_024
    assert halves["global"].n ** 2 * 2 == pytest.approx(20_000**2, rel=1e-3)
