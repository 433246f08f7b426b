"""The probe: tools wherever they are, and what is missing."""

import importlib.util
import re

import pytest

from benchmarks.gpu import campaign, counters, probe
from tests.benchmarks.gpu.programs import executable


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
