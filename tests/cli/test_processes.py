"""`acs-fast train` in processes of its own: under torchrun, killed, and resumed by others."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from acs_fast.training import checkpoint

ROOT = Path(__file__).parents[2]
SMALL = ["--width", "2", "--batch-size", "32", "--test-limit", "8", "--validation-limit", "8", "--device", "cpu"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this torch has no torch.distributed")

ENDING = """
import os
import torch
from torch import nn
from acs_fast.training.processes import process_group

def train():
    model = nn.parallel.DistributedDataParallel(nn.Linear(2, 2))
    model.itself = model  # a reference cycle
    model(torch.ones(1, 2)).sum().backward()

with process_group(torch.device("cpu")):
    train()
    names = [open(f"/proc/self/task/{t}/comm").read() for t in os.listdir("/proc/self/task")]
    assert any("gloo" in name for name in names)
names = [open(f"/proc/self/task/{t}/comm").read() for t in os.listdir("/proc/self/task")]
assert not any("gloo" in name for name in names), names
"""


def start(arguments, processes=1):
    command = [sys.executable, *(TORCHRUN if processes == 2 else ()), "-m", "acs_fast", "train", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def finish(arguments, processes=1):
    process = start(arguments, processes)
    out, _ = process.communicate()
    assert process.returncode == 0, out
    return out


def kill_when(process, path, lines):
    """Kill all of a run's processes as soon as its log has so many lines."""
    while process.poll() is None and not (path.exists() and len(path.read_text().splitlines()) >= lines):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def epochs(folder):
    return [json.loads(line)["epoch"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_two_processes_learn_what_one_does(tmp_path, squares):
    """Weights of the samples count the same however the mini-batches are divided."""
    options = [*SMALL, "--data", squares(classes=4), "--objective", "vanilla", "--selector", "craig", "--epochs", "4",
               "--train-on", "coreset", "--gradients", "attack", "--fraction", "0.5", "--period", "2"]  # fmt: skip
    for processes in (1, 2):
        out = finish([*options, "--output", str(tmp_path / str(processes))], processes)
    assert "on cpu x 2: craig" in out
    assert out.count("epoch   1/4") == 1  # one log
    one, two = (checkpoint.load(tmp_path / n / "craig-seed0" / "checkpoint.pt") for n in ("1", "2"))
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, rtol=1e-3, atol=1e-4)
    assert [e["samples"] for e in one["log"]] == [e["samples"] for e in two["log"]]
    assert [e["validation"]["clean"] for e in one["log"]] == [e["validation"]["clean"] for e in two["log"]]


def clustered(data, epochs):
    return [*SMALL, "--data", data, *f"--selector clusters --epochs {epochs} --period 2 --eps 0.05 --quiet".split()]


def test_killed_under_torchrun_and_resumed_by_one_process(tmp_path, squares):
    """With clusters and ATTA, whose attacks and gradients are remembered by whichever process visited a sample."""
    folder = tmp_path / "run"
    options = clustered(squares(), epochs=6)
    process = start([*options, "--output", str(folder)], processes=2)
    kill_when(process, folder / "clusters-seed0" / "log.jsonl", lines=2)
    out = finish(["--resume", str(folder), "--quiet", "--device", "cpu"])
    assert "clusters" in out
    assert epochs(folder / "clusters-seed0") == list(range(6))


def test_killed_runs_end_with_the_bits_of_the_uninterrupted_one(tmp_path, squares):
    options = clustered(squares(), epochs=5)
    finish([*options, "--output", str(tmp_path / "whole")])
    folder = tmp_path / "parts"
    log = folder / "clusters-seed0" / "log.jsonl"
    kill_when(start([*options, "--output", str(folder)]), log, lines=1)
    kill_when(start(["--resume", str(folder), "--quiet", "--device", "cpu"]), log, lines=3)
    finish(["--resume", str(folder), "--quiet", "--device", "cpu"])
    one, two = (checkpoint.load(p / "clusters-seed0" / "checkpoint.pt") for p in (tmp_path / "whole", folder))
    assert all(torch.equal(two["model"][k], v) for k, v in one["model"].items())
    assert epochs(folder / "clusters-seed0") == list(range(5))


def test_an_error_of_the_first_process_ends_them_all(tmp_path):
    process = start([*SMALL, "--data", "/nowhere", "--output", str(tmp_path)], processes=2)
    out, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "--data must be 'digits'" in out


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in Linux's /proc")
def test_no_thread_of_the_group_outlives_it(tmp_path):
    """One that still holds a tensor when the interpreter ends is aborted, and the process with it (Python < 3.14)."""
    script = tmp_path / "ending.py"
    script.write_text(ENDING)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *TORCHRUN, script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
