"""The GPU's results: what goes wrong in a case is a row, and every bar has its verdict."""

import json
from dataclasses import asdict

import pytest
import torch

from acs_fast.benchmark import Row, Run, execute
from benchmarks.gpu import bars, floors, measure, predictions, report
from benchmarks.gpu.cases import CASES, OPPONENTS, controls
from benchmarks.gpu.work import PICKS, PLAIN, PUBLIC, TORCH, Work

CLEAN = [{"name": name, "status": "ok", "seconds": 1.0} for name in ("tests", "memcheck", "racecheck")]
TIMES = {  # seconds of what is judged
    ("craig-cifar10", PUBLIC): 0.010, ("craig-cifar10", "operator"): 0.008, ("craig-cifar10", TORCH): 0.06,
    ("craig-imagenet", PUBLIC): 0.6, ("craig-imagenet", "distances"): 0.05, ("craig-imagenet", PLAIN): 0.04,
    ("craig-imagenet", TORCH): 0.02,
    ("craig-global", PUBLIC): 0.3, ("craig-global", "distances"): 0.1, ("craig-global", "greedy"): 0.2,
    ("craig-global", TORCH): 20.0,
    ("gradmatch-cifar10", PUBLIC): 0.4,
}  # fmt: skip


def result() -> Run:
    place = {"cpu": "CPU", "simd": "AVX2", "cores": 8, "memory_gib": 64, "gpu": {"name": "GPU", "memory_gib": 80}}
    cases = [{**asdict(case), "floor_s": {"greedy": 0.005}} for case in CASES]
    rows = [
        Row(case, stage, stage, "ours", "ok", [0.9 * t, t, 1.2 * t], (21 << 30) if stage == PUBLIC else None)
        for (case, stage), t in TIMES.items()
    ]
    rows.append(
        Row("craig-cifar10", PICKS, PICKS, "control", "ok", quality={"other_than_cpu": 0, "other_in_repeats": 2})
    )
    versions, commit = {"torch": "2.11", "cuda": "13.0"}, {"sha": "abc", "date": "2026-01-01", "dirty": False}
    return Run("cuda", "2026-01-02", False, 8, place | {"kernels": "both"}, versions, commit, cases, rows=rows)


def test_every_bar_has_its_verdict():
    found = [(v.found, v.met) for v in bars.verdicts(result(), CLEAN)]
    assert found == [
        ("10.00 ms", True), ("600.00 ms", False), ("200.00 ms", True), ("400.00 ms", True),  # of greedy alone
        ("21.0 GiB", True), ("80%", True),
        ("60 times", True), ("33 times", False), ("67 times", True),  # one group by torch, times the groups
        ("0 others", True), ("2 others", False),
        ("tests ok", True), ("memcheck ok, racecheck ok", True),
    ]  # fmt: skip


def test_a_bar_without_a_figure_says_why():
    run = result()
    run.rows = [row for row in run.rows if row.case != "craig-global" and row.opponent != PICKS]
    run.rows[-1] = Row(
        CASES[3].name, PUBLIC, PUBLIC, "ours", "out of memory", reason="OutOfMemoryError: 4 GiB"
    )  # fmt: skip
    found = {v.title: (v.found, v.met) for v in bars.verdicts(run, CLEAN[:2])}
    assert ("not measured", None) in found.values()
    assert ("out of memory: OutOfMemoryError: 4 GiB", None) in found.values()
    assert found["CRAIG, 50,000 in 10 classes, 30 %: picks"] == ("not measured", None)
    assert found["every kernel"] == ("memcheck ok, racecheck not run", None)
    (failed,) = [v for v in bars.verdicts(run, [*CLEAN[:2], {**CLEAN[2], "status": "failed"}]) if "memcheck" in v.found]
    assert failed.met is False


def test_the_table_is_what_the_results_say(tmp_path):
    assert report.section(tmp_path) == ""
    result().write(tmp_path / "gpu.json")
    (tmp_path / "gpu-steps.json").write_text(json.dumps([{"name": "tests", "status": "failed", "seconds": 1.0}]))
    text = report.section(tmp_path)
    guess = {stage: f"{1e3 * seconds:.2f}" for stage, seconds in predictions.load()["craig-cifar10"].items()}
    assert f"| craig-cifar10 | public call | 5.00 | {guess[PUBLIC]} | 10.00 | 9.40 to 11.20 | 2.0 | 25 |" in text
    assert f"| craig-cifar10 | operator | 5.00 | {guess['operator']} | 8.00 |" in text
    assert "| craig-global | greedy | 5.00 | 209.60 | 200.00 | 188.00 to 224.00 | 40.0 | 250 |" in text
    assert (
        "CRAIG, one problem of 50,000, 30 % (greedy, after the distances) | at most 250 ms | 200.00 ms | yes |" in text
    )
    assert "tests failed" in text


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


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_without_a_gpu_nothing_is_measured(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["measure"])
    assert measure.main() == 1
    assert "finds no GPU" in capsys.readouterr().err
