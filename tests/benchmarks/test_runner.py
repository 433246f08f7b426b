"""The runner: tests first, a row for everything that can happen, files that survive an interruption."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import cases, peers, problem, results_file, runner, worker
from benchmarks.cases import Case
from benchmarks.peers import Opponent

ROOT = Path(__file__).resolve().parents[2]
TINY = Case("tiny", "tiny", "craig", 60, 3, 8, 12, groups=2, opponents=("ours-reference", "random"))


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def folder_with_test(tmp_path: Path, body: str) -> str:
    (tmp_path / "test_one.py").write_text(f"def test_one():\n    {body}\n")
    return str(tmp_path)


def test_red_tests_mean_no_numbers(tmp_path):
    output = tmp_path / "run.json"
    done = command("--quick", "--tests", folder_with_test(tmp_path, "assert False"), "--output", str(output))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no benchmark was run" in done.stderr
    assert not output.exists()


def test_quick_run_from_tests_to_table(tmp_path):
    output = tmp_path / "run.json"
    tests = folder_with_test(tmp_path, "pass")
    done = command("--quick", "--repeat", "1", "--tests", tests, "--output", str(output))
    assert done.returncode == 0, done.stderr
    run = results_file.read(output)
    assert run.complete
    assert run.quick
    assert "1 passed" in run.tests
    assert {row.case for row in run.rows} == {case.name for case in cases.QUICK}
    assert {row.status for row in run.rows} <= {"ok", "not run"}, [r for r in run.rows if r.status == "failed"]
    exact = [r.quality["objective"] for r in run.of_case("craig-5k") if r.ok and r.kind != "control"]
    assert exact == pytest.approx([exact[0]] * len(exact), rel=1e-3)
    assert "acs_fast, reference (PyTorch)" in done.stdout


def run_tiny(tmp_path: Path, case: Case = TINY) -> results_file.Run:
    return runner.execute((case,), "cpu", 1, True, "", tmp_path / "run.json")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError("no"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (ValueError("wrong"), "failed"),
    ],
)
def test_whatever_a_peer_raises_is_a_row(monkeypatch, error, status):
    def raising(_: problem.Problem) -> None:
        raise error

    monkeypatch.setattr(Opponent, "solver", lambda self, task: raising)
    monkeypatch.setattr(worker, "_limit_memory", lambda: None)
    monkeypatch.setattr(worker.os, "dup2", lambda *_: None)
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    sent, inbox = [], ["run"]

    class Pipe:
        send = staticmethod(sent.append)

        @staticmethod
        def recv() -> str:
            return inbox.pop(0)

    worker.main(Pipe(), TINY, "random", "cpu", 1)
    assert sent[-1]["status"] == status


def test_a_slow_opponent_is_stopped_and_the_others_go_on(tmp_path):
    slow = Case(
        "slow", "slow", "craig", 1_500, 10, 64, 400, opponents=("ours-reference", "random"), limit_s=0.05, seconds=1.0
    )
    run = run_tiny(tmp_path, slow)
    status = {row.opponent: row.status for row in run.rows}
    assert status["ours-reference"] == "over time"
    assert status["random"] in ("ok", "over time")


def test_rows_are_written_as_they_come(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    seen = []

    def spy(run: results_file.Run, target: Path) -> None:
        original(run, target)
        seen.append((len(json.loads(path.read_text())["rows"]), run.complete))

    original = results_file.Run.write
    monkeypatch.setattr(results_file.Run, "write", spy)
    runner.execute((TINY,), "cpu", 1, True, "", path)
    assert seen == [(1, False), (2, False), (2, True)]


def test_a_missing_peer_is_a_row_with_its_reason(monkeypatch, tmp_path):
    absent = Opponent("nobody", "peer", "nobody", packages=("nobody-py",), imports=("nobody_at_all",))
    monkeypatch.setitem(peers.OPPONENTS, "nobody", absent)
    run = run_tiny(tmp_path, Case("tiny", "tiny", "craig", 20, 3, 4, 5, opponents=("nobody",)))
    assert (run.rows[0].status, run.rows[0].reason) == ("not run", "nobody-py not installed")


def test_cases_name_known_opponents_and_bars_known_cases():
    named = {name for case in (*cases.CASES, *cases.QUICK) for name in (*case.opponents, *case.not_run)}
    assert named <= set(peers.OPPONENTS)
    assert {bar.case for bar in cases.BARS} <= {case.name for case in cases.CASES}
    assert len({case.name for case in cases.CASES}) == len(cases.CASES)


def test_selection_of_cases():
    assert {case.name for case in cases.select(["gradmatch-*"], False)} >= {"gradmatch-5k", "gradmatch-2k-k100"}
    assert all(case.series for case in cases.select(["growth-n"], False))
    with pytest.raises(ValueError, match="names no case"):
        cases.select(["nothing"], False)


def test_quality_is_that_of_the_definition():
    p = problem.build(TINY, "cpu")
    picks = torch.tensor([0, 1, 7])  # of both groups
    found = problem.quality(TINY, p, problem.Selection(picks, torch.ones(3)))
    d = torch.cdist(p.g.dense().double(), p.g.dense().double())
    d[p.labels[:, None] != p.labels] = torch.inf
    assert found["objective"] == pytest.approx(float(d[:, picks].amin(1).sum()), rel=1e-5)
