"""The GPU campaign: its steps, and what happens to the others when one fails, hangs or cannot begin."""

import json
import sys
import time

from benchmarks.gpu import campaign, measure


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


def test_kernels_are_cached_where_home_is_not_writable(tmp_path, monkeypatch):
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    show = step("cache", "import os; os.makedirs(os.environ['TRITON_CACHE_DIR'], exist_ok=True)")
    assert campaign.run([[show]], tmp_path)[0].status == "ok"
