"""The GPU campaign: what happens to the other steps when one fails, hangs or cannot begin; the table of its results."""

import json
import sys
import time
from dataclasses import asdict

import pytest
import torch

from acs_fast.benchmark import Row, Run, machine
from benchmarks.gpu import campaign, floors, measure, predictions, report


def step(name, code, limit_s=20.0):
    return campaign.Step(name, [sys.executable, "-c", code], limit_s)


def test_one_step_s_failure_loses_none_of_the_others(tmp_path):
    plan = [
        step("bad", "print('why'); raise SystemExit(3)"),
        campaign.Step("absent", ["/nonexistent/tool"], 5.0),
        step("good", "print('fine')"),
    ]
    outcomes = campaign.run(plan, tmp_path)
    assert [(o.name, o.status) for o in outcomes] == [("bad", "failed"), ("absent", "failed"), ("good", "ok")]
    assert (tmp_path / "gpu-bad.log").read_text() == "why\n"
    assert "No such file" in (tmp_path / "gpu-absent.log").read_text()
    assert [s["status"] for s in json.loads((tmp_path / "gpu-steps.json").read_text())] == ["failed", "failed", "ok"]


def test_time_is_kept(tmp_path):
    hanging = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    start = time.monotonic()
    outcomes = campaign.run([step("slow", hanging, 1.0), step("late", "pass")], tmp_path, whole_s=2.0)
    assert [o.status for o in outcomes] == ["over time", "not begun"]
    assert time.monotonic() - start < 20.0


def test_status_says_that_a_step_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["campaign", str(tmp_path)])
    for code, expected in (("pass", 0), ("raise SystemExit(1)", 1)):
        monkeypatch.setattr(campaign, "steps", lambda folder, code=code: [step("one", code), step("two", "pass")])
        assert campaign.main() == expected


def test_the_steps_are_in_order_and_most_of_them_fit(tmp_path):
    plan = campaign.steps(tmp_path)
    assert [s.name for s in plan] == ["probe", "build", "measure", "tests", "warm", "memcheck", "racecheck"]
    by_name = {s.name: s for s in plan}
    assert by_name["build"].environment["ACS_FAST_BUILD"] == "cuda"
    assert by_name["tests"].environment["ACS_FAST_REQUIRE"] == "cuda,triton"
    assert by_name["memcheck"].command[-2:] == by_name["warm"].command[-2:], "what it runs was not compiled before"
    assert campaign.WHOLE_SECONDS < 600
    for path in campaign.ON_THE_HOST:
        assert (campaign.ROOT / path).exists()


@pytest.mark.parametrize("path", ["/nonexistent", None], ids=["without git", "without .git"])
def test_the_commit_needs_no_git(tmp_path, monkeypatch, path):
    monkeypatch.delenv("ACS_FAST_COMMIT", raising=False)
    if path is not None:
        monkeypatch.setenv("PATH", path)
    assert machine.commit(tmp_path)["sha"] == "unknown"
    monkeypatch.setenv("ACS_FAST_COMMIT", "1234abc")
    assert machine.commit(tmp_path)["sha"] == "1234abc"


def test_kernels_are_cached_where_home_is_not_writable(tmp_path, monkeypatch):
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    show = step("cache", "import os; os.makedirs(os.environ['TRITON_CACHE_DIR'], exist_ok=True)")
    assert campaign.run([show], tmp_path)[0].status == "ok"


def test_predictions_are_the_model_s_and_above_the_floors():
    found = predictions.predictions()
    assert json.loads(predictions.FILE.read_text()) == json.loads(json.dumps(found))
    assert set(found["seconds"]) == {case.name for case in floors.CASES}
    for case in floors.CASES:
        stages = found["seconds"][case.name]
        assert sum(floors.floor_seconds(case, floors.Rates()).values()) <= stages["all"] <= case.bar_seconds
        if case.algorithm == "craig":
            assert stages["distances"] >= max(floors.distance_floor(case, floors.Rates()).values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_what_goes_wrong_in_a_case_is_a_row():
    (row,) = measure.rows(floors.CASES[0], 1)
    assert (row.case, row.status) == ("craig-cifar10", "failed")
    assert row.reason


def result() -> Run:
    place = {"cpu": "CPU", "simd": "AVX2", "cores": 8, "memory_gib": 64, "gpu": {"name": "GPU", "memory_gib": 80}}
    cases = [{**asdict(case), "floor_s": {"greedy": 0.005}} for case in floors.CASES[:2]]
    first = cases[0]["name"]
    times, peak = [0.009, 0.010, 0.012], 1 << 30
    rows = [Row(first, stage, stage, "ours", "ok", times, peak) for stage in ("all", "greedy", "distances")]
    rows += [Row(first, report.PLAIN, report.PLAIN, "control", "ok", [0.005]), measure.failed(floors.CASES[1], "out of "
             "memory", "4 GiB")]  # fmt: skip
    versions, commit = {"torch": "2.11", "cuda": "13.0"}, {"sha": "abc", "date": "2026-01-01", "dirty": False}
    return Run("cuda", "2026-01-02", False, 8, place | {"kernels": "both"}, versions, commit, cases, rows=rows)


def test_the_table_is_what_the_results_say(tmp_path):
    assert report.section(tmp_path) == ""
    result().write(tmp_path / "gpu.json")
    (tmp_path / "gpu-steps.json").write_text(json.dumps([{"name": "tests", "status": "failed", "seconds": 1.0}]))
    text = report.section(tmp_path)
    guess = {stage: f"{1e3 * seconds:.2f}" for stage, seconds in predictions.load()["craig-cifar10"].items()}
    assert f"| craig-cifar10 | all | 5.00 | {guess['all']} | 10.00 | 9.40 to 11.20 | 2.0 | 25 | yes |" in text
    assert f"| craig-cifar10 | distances |  | {guess['distances']} | 10.00 |" in text
    assert "|  | 60% of plain | **no**, 50% |" in text
    assert "| craig-imagenet | out of memory: 4 GiB |" in text
    assert "tests failed" in text
