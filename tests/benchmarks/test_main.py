"""The suites: tests first, every case can run, and what is said about bars is about cases that exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from acs_fast.benchmark import read
from benchmarks import ROOT, bars, ops, report
from benchmarks import __main__ as command


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


@pytest.mark.ordinary_memory
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


def test_selection_of_cases():
    cases = ops.CASES
    assert {case.name for case in command.select(cases, ["gradmatch-*"])} >= {"gradmatch-5k", "gradmatch-2k-k100"}
    assert all(case.series for case in command.select(cases, ["growth-n"]))
    with pytest.raises(ValueError, match="names no case"):
        command.select(cases, ["nothing"])
