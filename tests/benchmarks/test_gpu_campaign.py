"""The GPU campaign: its steps, and what happens to the others when one fails, hangs or cannot begin; predictions."""

import importlib.util
import json
import re
import sys
import time
from dataclasses import replace

import pytest

from acs_fast.benchmark import machine
from benchmarks import ROOT
from benchmarks.gpu import campaign, counters, floors, measure, predictions, probe
from benchmarks.gpu.cases import CASES


def step(name, code, limit_s=20.0):
    return campaign.Step(name, [sys.executable, "-c", code], limit_s)


def test_one_step_s_failure_loses_none_of_the_others(tmp_path):
    plan = [
        [step("bad", "print('why'); raise SystemExit(3)")],
        [campaign.Step("absent", ["/nonexistent/tool"], 5.0), step("beside", "pass")],
        [step("good", "print('fine')")],
    ]
    outcomes = campaign.run(plan, tmp_path)
    expected = [("bad", "failed"), ("absent", "failed"), ("beside", "ok"), ("good", "ok")]
    assert [(o.name, o.status) for o in outcomes] == expected
    log = (tmp_path / "gpu.log").read_text()
    assert "\nwhy\n" in log
    assert "No such file" in log
    assert [s["status"] for s in json.loads((tmp_path / "gpu-steps.json").read_text())] == [s for _, s in expected]


def test_time_is_kept(tmp_path):
    hanging = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    start = time.monotonic()
    outcomes = campaign.run([[step("slow", hanging, 1.0)], [step("late", "pass")]], tmp_path, whole_s=2.0)
    assert [o.status for o in outcomes] == ["over time", "not begun"]
    assert time.monotonic() - start < 20.0


def test_steps_of_a_stage_run_side_by_side(tmp_path):
    meets = (
        "import pathlib, time; pathlib.Path({0!r}).touch()\nwhile not pathlib.Path({1!r}).exists(): time.sleep(0.01)"
    )
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    outcomes = campaign.run([[step("one", meets.format(a, b)), step("other", meets.format(b, a))]], tmp_path / "out")
    assert [o.status for o in outcomes] == ["ok", "ok"]


def test_few_files_and_small_ones(tmp_path):
    loud = "print('first'); print('x' * 2_000_000); print('last')"
    campaign.run([[step("loud", loud), step("beside", loud)], [step("after", "print('said')")]], tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["gpu-steps.json", "gpu.log"]
    log = (tmp_path / "gpu.log").read_text()
    assert len(log) < 2.1 * campaign.LOG_BYTES
    for passage in ("first\n", "\nlast\n", " bytes ...]", "said"):
        assert passage in log


def test_status_says_that_a_step_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["campaign", str(tmp_path)])
    for code, expected in (("pass", 0), ("raise SystemExit(1)", 1)):
        monkeypatch.setattr(campaign, "stages", lambda folder, code=code: [[step("one", code)], [step("two", "pass")]])
        assert campaign.main() == expected


def test_the_steps_are_in_order_and_every_one_of_them_begins(tmp_path):
    plan = campaign.stages(tmp_path)
    assert [[s.name for s in stage] for stage in plan] == [
        ["probe"], ["build", "warm"], ["measure"], ["tests", "memcheck", "racecheck"]
    ]  # fmt: skip
    by_name = {s.name: s for stage in plan for s in stage}
    assert by_name["build"].environment["ACS_FAST_BUILD"] == "cuda"
    assert by_name["tests"].environment["ACS_FAST_REQUIRE"] == "cuda,triton"
    assert by_name["memcheck"].command[-2:] == by_name["warm"].command[-2:], "what it runs was not compiled before"
    assert sum(max(s.limit_s for s in stage) for stage in plan) + campaign.LEAST_SECONDS < campaign.WHOLE_SECONDS < 600
    measured = measure.parser().parse_args(by_name["measure"].command[3:])
    assert measured.seconds + 30.0 < by_name["measure"].limit_s


def test_tests_that_need_no_gpu_stay_on_the_host(tmp_path):
    (command,) = (s.command for stage in campaign.stages(tmp_path) for s in stage if s.name == "tests")
    for name in ("compiles", "greedy_emulated", "greedy_races", "machine_code"):
        assert (campaign.ROOT / f"tests/gpu/test_{name}.py").exists()
        assert f"--ignore=tests/gpu/test_{name}.py" in command


def executable(path, text="exit 0"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_tools_are_those_that_the_probe_finds(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    sanitizer, ncu = (executable(tmp_path / "bin" / name) for name in ("compute-sanitizer", "ncu"))
    executable(tmp_path / "bin/nvidia-smi", "echo 9.0; echo 9.0")
    plan = {s.name: s for stage in campaign.stages(tmp_path) for s in stage}
    assert plan["memcheck"].command[0] == plan["racecheck"].command[0] == sanitizer
    assert counters.stages()[0][0].command[0] == ncu
    assert probe.found()["compute-sanitizer"] == sanitizer
    assert plan["build"].environment["ACS_FAST_CUDA_ARCHITECTURES"] == "9.0"


@pytest.mark.parametrize("module", ["pybind11", "ninja"])
def test_the_probe_demands_what_the_build_imports(monkeypatch, capsys, module):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find(name))
    assert probe.main() == 1
    assert re.search(rf"^{module} +MISSING: pip install .*setup.py imports", capsys.readouterr().out, re.M)


def test_counters_are_of_kernels_that_there_are():
    sources = [*ROOT.glob("acs_fast/ops/triton/*.py"), *ROOT.glob("csrc/cuda/*.cu")]
    there = set(re.findall(r"(?:def |\) )(\w+_kernel)\(", "\n".join(p.read_text() for p in sources)))
    for (profiled,), profile in zip(counters.stages(), counters.PROFILES, strict=True):
        command = profiled.command
        options = command[1 : command.index(sys.executable)]
        given = dict(zip(options[::2], options[1::2], strict=True))
        assert set(given) == {
            "--clock-control", "--target-processes", "--kernel-name", "--launch-skip", "--launch-count", "--section"
        }  # fmt: skip
        pattern = re.compile(given["--kernel-name"].removeprefix("regex:"))
        assert {name for name in there if pattern.match(name)} == set(profile.kernels)
        assert 0 < int(given["--launch-count"]) <= 8
        assert command[-4:] == ["-m", "benchmarks.gpu.counters", "--once", profile.case]
        assert profile.case in {case.name for case in CASES}
    assert sum(stage[0].limit_s for stage in counters.stages()) <= campaign.WHOLE_SECONDS


def test_counters_go_to_one_log(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    monkeypatch.setenv("PATH", "/nonexistent")
    executable(tmp_path / "cuda/bin/ncu", 'echo "asked: $@"')
    monkeypatch.setattr(sys, "argv", ["counters", str(tmp_path / "out")])
    assert counters.main() == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["gpu-ncu-steps.json", "gpu-ncu.log"]
    text = (tmp_path / "out/gpu-ncu.log").read_text()
    assert [f"--once {case.name}\n" in text for case in CASES] == [True] * 4


def test_what_the_counters_look_at_runs_once(monkeypatch):
    done = []
    monkeypatch.setattr(counters, "once", done.append)
    monkeypatch.setattr(sys, "argv", [*counters.command(counters.PROFILES[3])[-2:]])
    assert counters.main() == 0
    assert [case.name for case in done] == ["gradmatch-cifar10"]
    monkeypatch.undo()
    counters.once(done[0].small())


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
    assert campaign.run([[show]], tmp_path)[0].status == "ok"


def test_predictions_are_the_model_s_and_above_the_floors():
    found = predictions.predictions()
    assert json.loads(predictions.FILE.read_text()) == json.loads(json.dumps(found))
    assert set(found["seconds"]) == {case.name for case in CASES}
    for case in CASES:
        stages = found["seconds"][case.name]
        assert sum(floors.floor_seconds(case, floors.Rates()).values()) <= stages["operator"] < stages["public call"]
        assert stages[case.judged] <= case.bar_seconds
        if case.algorithm == "craig":
            assert stages["distances"] >= max(floors.distance_floor(case, floors.Rates()).values())


def test_predicted_distances_know_of_traffic():
    case = next(case for case in CASES if case.name == "craig-imagenet")
    rates, by = floors.Rates(), predictions.Latencies()
    through_l2, passes = predictions.traffic_seconds(case, rates, by)
    assert through_l2 * by.l2 == pytest.approx(66_000 * 256 * 3048 * 2)  # tiles, rows of factors, numbers, bytes
    assert passes * rates.copy == pytest.approx(3 * 1_281_000 * 3048 * 2)
    assert predictions.distances_seconds(case, rates, by) >= through_l2 + passes


def test_predicted_matching_knows_of_the_rounds_before_the_graph():
    case = next(case for case in CASES if case.algorithm == "gradmatch")
    none = replace(predictions.Latencies(), eager=0.0, instantiation=0.0)
    more = predictions.matching_seconds(case, floors.Rates(), predictions.Latencies())
    before = more - predictions.matching_seconds(case, floors.Rates(), none)
    assert before == pytest.approx(32 * 8 * 62e-6)


def test_the_model_s_rounds_are_those_of_the_graph():
    source = (ROOT / "acs_fast/ops/triton/gradient_matching.py").read_text()
    assert f"\nROUNDS = {predictions.ROUNDS} " in source
