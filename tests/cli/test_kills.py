"""`kill -9` at any moment of `acs-fast train`: what is resumed ends with the bits of the run that nobody disturbed.

The suite kills one run twice; `make kills` those of every kind, many times.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from acs_fast.training import checkpoint

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("ACS_FAST_KILLS", "0"))
SEED = int(os.environ.get("ACS_FAST_KILLS_SEED", "0"))

# counts calls and returns inside the files of each moment, and dies at one of them
KILLER = """
import json, os, signal, sys
from acs_fast.cli.main import main

moments, fatal, at = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
counted, known = dict.fromkeys(moments, 0), {}

def moment_of(path):
    return next((moment for moment, parts in moments.items() if any(part in path for part in parts)), None)

def watch(frame, event, argument):
    path = frame.f_code.co_filename
    if path not in known:
        known[path] = moment_of(path)
    moment = known[path]
    if moment is not None:
        counted[moment] += 1
        if moment == fatal and counted[moment] == at:
            os.kill(os.getpid(), signal.SIGKILL)

sys.setprofile(watch)
status = main(["train", *sys.argv[4:], "--quiet"])
sys.setprofile(None)
print("counted", json.dumps(counted))
sys.exit(status)
"""
MOMENTS = {
    "checkpoint": ["acs_fast/training/checkpoint.py"],
    "selection": ["acs_fast/selection/", "acs_fast/gradients/", "acs_fast/adversarial_coreset.py"],
    "epoch": ["acs_fast/training/run.py", "acs_fast/training/validation.py", "acs_fast/data/"],
    "step": ["acs_fast/training/learner.py", "acs_fast/objectives/"],
}
SMALL = ["--width", "2", "--batch-size", "32", "--test-limit", "8", "--validation-limit", "8", "--device", "cpu",
         "--epochs", "5", "--period", "2", "--fraction", "0.4", "--warm-start", "0.3"]  # fmt: skip
RUNS = {
    "default": [],
    "craig": ["--objective", "pgd", "--steps", "2", "--selector", "craig", "--gradients", "attack"],
    "gradmatch": ["--objective", "trades", "--steps", "1", "--selector", "gradmatch", "--augment", "standard"],
    "clusters": ["--objective", "fgsm-pgi", "--selector", "clusters", "--gradients", "training", "--accumulate", "2"],
}


def run(*arguments: str, moment: str = "", at: int = 0, seconds: float | None = None) -> tuple[int, str]:
    """The exit status and output of a training, killed at an event of a moment or after some seconds."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLER, json.dumps(MOMENTS), moment, str(at), *arguments],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, _ = process.communicate()
    return process.returncode, out


class Undisturbed:
    """A run to compare with: its bits, the events of each moment and its seconds."""

    def __init__(self, name: str, data: str, folder: Path) -> None:
        self.options, start = [*RUNS[name], *SMALL, "--data", data], time.perf_counter()
        status, out = run(*self.options, "--output", str(folder))
        assert status == 0, out
        self.seconds, self.bits = time.perf_counter() - start, bits(folder)
        self.events: dict[str, int] = json.loads(out.rpartition("counted")[2])

    def kill_and_resume(self, folder: Path, rng: random.Random) -> list[str]:
        """Kill a run and those that resume it until one gets through; returns the moments of the kills."""
        kills: list[str] = []
        while True:
            begun = (folder / "job.json").exists()
            arguments = ["--resume", str(folder)] if begun else [*self.options, "--output", str(folder)]
            moment = rng.choice([*MOMENTS, "any time"]) if len(kills) < 3 else "none"
            at = rng.randint(1, self.events[moment]) if moment in MOMENTS else 0
            seconds = rng.uniform(0.3, 1.0) * self.seconds if moment == "any time" else None
            status, out = run(*arguments, moment=moment, at=at, seconds=seconds)
            if status == 0:
                break
            assert status == -signal.SIGKILL, out
            kills.append(moment)
        assert bits(folder) == self.bits, kills
        return kills


def bits(folder: Path) -> dict[str, Any]:
    """Everything that a job leaves, without seconds; tensors as their bytes."""
    names = [".lock", "job.json", "report.json", "report.txt"]
    assert sorted(p.name for p in folder.iterdir() if p.is_file()) == names
    found: dict[str, Any] = {"job": json.loads((folder / "job.json").read_text())}
    for own in (p for p in folder.iterdir() if p.is_dir()):
        names = [".lock", "best.pt", "checkpoint.pt", "log.jsonl", "result.json"]
        assert sorted(p.name for p in own.iterdir()) == names
        found["best"], found["checkpoint"] = (plain(checkpoint.read(own / f"{n}.pt")) for n in ("best", "checkpoint"))
        found["log"] = [plain(json.loads(line)) for line in (own / "log.jsonl").read_text().splitlines()]
        found["result"] = plain(json.loads((own / "result.json").read_text()))
    return found


def plain(x: Any) -> Any:
    """The same for ==, without what depends on the clock."""
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items() if k not in ("seconds", "break_even_fraction", "peak_bytes")}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    return (x.dtype, x.shape, x.numpy().tobytes()) if isinstance(x, torch.Tensor) else x


@pytest.mark.parametrize("name", RUNS if KILLS else ["default"])
def test_resumed_after_any_kill_a_run_ends_with_the_same_bits(name, tmp_path, squares):
    rng, killed = random.Random(f"{name} {SEED}"), []
    undisturbed = Undisturbed(name, squares(classes=4), tmp_path / "undisturbed")
    while len(killed) < (-(-KILLS // len(RUNS)) or 2):
        killed += undisturbed.kill_and_resume(tmp_path / f"killed-{len(killed)}", rng)
    print(f"{name}: {len(killed)} kills: {', '.join(f'{killed.count(m)} {m}' for m in sorted(set(killed)))}")
