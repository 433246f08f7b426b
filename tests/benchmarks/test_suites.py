"""The suites: tests first, every case can run, and what is said about bars is about cases that exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from acs_fast.benchmark import read
from acs_fast.benchmark.suite import NO_KERNELS
from acs_fast.ops import backends
from benchmarks import __main__ as command
from benchmarks import bars, ops, peers, report
from benchmarks.peers import older

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def folder_with_test(tmp_path: Path, body: str) -> str:
    (tmp_path / "test_one.py").write_text(f"def test_one():\n    {body}\n")
    return str(tmp_path)


def test_red_tests_mean_no_numbers(tmp_path):
    output = tmp_path / "run.json"
    done = run("--quick", "--tests", folder_with_test(tmp_path, "assert False"), "--output", str(output))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no benchmark was run" in done.stderr
    assert not output.exists()


def test_quick_run_from_tests_to_table(tmp_path):
    output = tmp_path / "run.json"
    done = run("--quick", "--repeat", "1", "--tests", folder_with_test(tmp_path, "pass"), "--output", str(output))
    assert done.returncode == 0, done.stderr
    found = read(output)
    assert found.complete
    assert found.quick
    assert "1 passed" in found.tests
    assert {row.case for row in found.rows} == {case.name for case in ops.QUICK}
    assert {row.status for row in found.rows} <= {"ok", "not run"}, [r for r in found.rows if r.status == "failed"]
    exact = [r.quality["objective"] for r in found.of_case("craig-5k") if r.ok and r.kind != "control"]
    assert exact == pytest.approx([exact[0]] * len(exact), rel=1e-3)
    assert "acs_fast, reference (PyTorch)" in done.stdout


@pytest.mark.parametrize("suite", command.SUITES.values(), ids=command.SUITES)
def test_cases_have_names_of_their_own_and_known_opponents(suite):
    for cases in (suite.cases, suite.quick):
        assert {name for case in cases for name in (*case.opponents, *case.not_run)} <= set(suite.opponents)
        assert len({case.name for case in cases}) == len(cases)
        assert {case.name for case in cases} & {case.name for case in suite.cases} or cases is suite.quick
    assert (ROOT / suite.tests).exists()


def test_bars_and_headlines_are_about_cases():
    names = {case.name for suite in command.SUITES.values() for case in suite.cases}
    assert {bar.case for bar in bars.BARS} | set(report.HEADLINES) <= names
    everyone = {name for suite in command.SUITES.values() for name in suite.opponents}
    assert {bar.ours for bar in bars.BARS} | {bar.against for bar in bars.BARS} <= everyone | {"", "before"}


def test_every_opponent_has_a_function_for_its_tasks():
    for case in ops.CASES:
        for name in case.opponents:
            opponent = peers.OPPONENTS[name]
            if opponent.missing() is None:
                assert callable(opponent.solver(case.task)), (name, case.task)


@pytest.mark.parametrize("case", [*ops.CASES, *ops.QUICK], ids=lambda case: case.name)
def test_no_backend_is_asked_for_what_it_has_no_kernels_for(case):
    assert not {*NO_KERNELS[case.task]} & {*case.opponents}


def test_selection_of_cases():
    cases = ops.CASES
    assert {case.name for case in command.select(cases, ["gradmatch-*"])} >= {"gradmatch-5k", "gradmatch-2k-k100"}
    assert all(case.series for case in command.select(cases, ["growth-n"]))
    with pytest.raises(ValueError, match="names no case"):
        command.select(cases, ["nothing"])


@pytest.mark.skipif(backends.why_missing("cpu") is not None, reason="no compiled module")
@pytest.mark.parametrize("case", [c for c in ops.QUICK if "ours-cpu" in c.opponents], ids=lambda c: c.name)
def test_library_of_another_checkout_gives_the_same_answer(case):
    work = case.prepare(older.opponent(ROOT), "cpu")
    ours = case.prepare(peers.OPPONENTS["ours-cpu"], "cpu")
    work.run()
    assert work.judge(work.run()) == ours.judge(ours.run())


def test_older_library_that_ends_is_told(tmp_path):
    work = ops.QUICK[0].prepare(older.opponent(tmp_path), "cpu")
    with pytest.raises(RuntimeError, match="ended with code 1"):
        work.run()
