"""Counters: of kernels that there are, in one log."""

import re
import sys

from benchmarks import ROOT
from benchmarks.gpu import campaign, counters
from benchmarks.gpu.cases import CASES
from tests.benchmarks.gpu.programs import executable


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
