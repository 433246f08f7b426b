"""The whole GPU campaign where nothing is to be had: no GPU, no git, no checkout, no home, no network."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from benchmarks import ROOT
from benchmarks.gpu import report

COPIED = ("acs_fast", "benchmarks", "tests/gpu", "csrc", "setup.py", "pyproject.toml", "README.md", "LICENSE")
NO_BYTECODE = shutil.ignore_patterns("__pycache__", "results")


@pytest.fixture
def place(tmp_path):
    """The files alone, as they are sent to another machine."""
    root = tmp_path / "files"
    for name in COPIED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=NO_BYTECODE)
        else:
            shutil.copy(ROOT / name, root / name)
    for path in (ROOT / "tests").glob("*.py"):
        shutil.copy(path, root / "tests")
    return root


@pytest.fixture
def environment(tmp_path):
    """A toolkit beside PATH, whose sanitizer says how it was called; nothing else."""
    for name, text in (
        ("nvcc", "exit 0"),
        ("nvidia-smi", "echo 9.0"),
        ("compute-sanitizer", 'echo "sanitized: $@"'),
    ):
        program = tmp_path / "cuda/bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    nowhere = {f"{name}_proxy": "http://127.0.0.1:9" for name in ("http", "https")}
    return {
        "PATH": str(tmp_path / "empty"), "CUDA_HOME": str(tmp_path / "cuda"), "HOME": "/dev/null/home",
        "PIP_NO_INDEX": "1", "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1", **nowhere,
    }  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
@pytest.mark.ordinary_memory
def test_the_campaign_goes_through_without_git_home_or_network(tmp_path, place, environment):
    pytest.importorskip("triton")
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.campaign", str(out), "--rehearse"],
        cwd=place, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    outcomes = {step["name"]: step["status"] for step in json.loads((out / "gpu-steps.json").read_text())}
    log = (out / "gpu.log").read_text()
    assert outcomes == {
        "probe": "failed", "build": "ok", "warm": "ok", "measure": "ok", "tests": "ok", "memcheck": "ok",
        "racecheck": "ok",
    }, log + done.stderr  # fmt: skip
    assert list(outcomes)[:2] == ["probe", "build"]
    assert done.returncode == 1, "a step that failed"
    assert "c++                  MISSING: install g++ or clang++" in log
    assert "sanitized: --tool racecheck --error-exitcode 1" in log
    assert "test_on_gpu.py" in log
    assert "test_greedy_races.py" not in log.replace("--ignore=tests/gpu/test_greedy_races.py", "")
    files = {p.name: p.stat().st_size for p in out.iterdir()}
    assert set(files) == {"gpu.json", "gpu-steps.json", "gpu.log"}
    assert max(files.values()) < 1 << 20
    the_report_judges_every_bar(out)
    assert not os.path.exists(place / ".git")


def the_report_judges_every_bar(out):
    text = report.section(out)
    assert "A rehearsal on small shapes" in text
    assert "at commit unknown" in text
    assert text.count("| ? |") == 1, "no verdict but that of memory is open"
    assert "memcheck ok, racecheck ok" in text
