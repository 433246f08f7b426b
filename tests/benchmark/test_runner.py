"""The runner: answers are compared before anything is timed, and whatever can happen is a row."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from acs_fast.benchmark import OPPONENTS, Opponent, Run, execute, read, runner
from acs_fast.benchmark.problems import OpCase
from tests.benchmark.tiny import TINY, Answer

HERE = "tests.benchmark.test_runner"
RANDOM = {"random": Opponent("random", "control", HERE)}
WRONG = {"wrong": Opponent("wrong", "ours", HERE)}


def craig(problem) -> Answer:
    """As many samples from the front of every class: a coreset, and not the one."""
    parts = [members[:k] for members, k in zip(problem.groups, problem.budgets, strict=True)]
    picks = torch.cat(parts)
    return Answer(picks, torch.full((len(picks),), len(problem.g) / len(picks)))


def measure(case: OpCase = TINY, path: Path | None = None, **more: Opponent) -> Run:
    opponents = {**OPPONENTS, **more}
    run = runner.begin((case,), opponents, "cpu", threads=1)
    return execute(run, (case,), opponents, 2, path, say=lambda _: None)


@pytest.mark.ordinary_memory
def test_rows_have_seconds_memory_and_quality():
    run = measure(replace(TINY, opponents=("ours-reference", "random")), **RANDOM)
    rows = {row.opponent: row for row in run.rows}
    assert {row.status for row in run.rows} == {"ok"}
    assert len(rows["ours-reference"].seconds) == 2
    assert rows["ours-reference"].quality["objective"] < rows["random"].quality["objective"]
    assert rows["ours-reference"].peak_bytes is not None


@pytest.mark.ordinary_memory
def test_an_answer_of_ours_that_differs_is_not_timed():
    run = measure(replace(TINY, opponents=("ours-reference", "wrong")), **WRONG)
    rows = {row.opponent: row for row in run.rows}
    assert rows["wrong"].status == "differs"
    assert "where acs_fast, reference (PyTorch) has" in rows["wrong"].reason
    assert not rows["wrong"].seconds
    assert rows["ours-reference"].ok


@pytest.mark.ordinary_memory
def test_what_was_measured_before_a_process_died_stands(monkeypatch):
    first = runner._first

    def then_die(contender, case):
        found = first(contender, case)
        contender.process.kill()
        contender.process.join()
        return found

    monkeypatch.setattr(runner, "_first", then_die)
    (row,) = measure(replace(TINY, opponents=("ours-reference",), seconds=0.0)).rows
    assert row.ok
    assert len(row.seconds) == 1


@pytest.mark.ordinary_memory
def test_a_slow_opponent_is_stopped_and_the_others_go_on():
    slow = OpCase("slow", "slow", "craig", 1_500, 10, 64, 400, opponents=("ours-reference", "random"), limit_s=0.05)
    status = {row.opponent: row.status for row in measure(slow, **RANDOM).rows}
    assert status["ours-reference"] == "over time"
    assert status["random"] in ("ok", "over time")


def test_a_missing_package_is_a_row_with_its_reason():
    absent = Opponent("nobody", "peer", "nobody", packages=("nobody-py",), imports=("nobody_at_all",))
    run = measure(replace(TINY, opponents=("nobody",)), nobody=absent)
    assert (run.rows[0].status, run.rows[0].reason) == ("not run", "nobody-py not installed")


def test_the_file_is_written_row_by_row_and_case_by_case(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    seen = []

    def spy(run: Run, target: Path) -> None:
        original(run, target)
        written = json.loads(path.read_text())
        seen.append((len(written["rows"]), written["finished"], written["complete"]))

    original = Run.write
    monkeypatch.setattr(Run, "write", spy)
    measure(replace(TINY, opponents=("ours-reference", "random")), path, **RANDOM)
    assert seen == [(1, [], False), (2, [], False), (2, ["tiny"], False), (2, ["tiny"], True)]
    assert read(path).rows[0].case == "tiny"


@dataclass(frozen=True)
class Alone(OpCase):
    """In the runner's own process."""

    alone = True


def test_opponents_of_a_case_may_come_one_after_the_other_in_this_process(monkeypatch):
    monkeypatch.setattr(runner, "Apart", None)
    case = Alone("tiny", "tiny", "craig", 60, 3, 8, 12, groups=2, opponents=("ours-reference", "absent", "random"))
    rows = measure(case, absent=Opponent("absent", "peer", "no.such.module"), **RANDOM).rows
    assert [(row.opponent, row.status) for row in rows] == [
        ("ours-reference", "ok"), ("absent", "failed"), ("random", "ok")
    ]  # fmt: skip
    assert "no module named" in rows[1].reason.lower()
    assert len(rows[0].seconds) == 2
    assert "objective" in rows[0].quality


def test_no_case_begins_when_there_is_no_time_left():
    opponents = {**OPPONENTS, **RANDOM}
    case = replace(TINY, opponents=("ours-reference", "random"))
    run = execute(runner.begin((case,), opponents, "cpu"), (case,), opponents, 2, say=lambda _: None, seconds=0.0)
    assert [(row.status, row.reason) for row in run.rows] == [("not run", "no time left")] * 2
