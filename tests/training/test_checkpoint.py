"""Checkpoints survive whatever happens while they are written, and say what is wrong with them."""

import os
import pickle
import signal
import subprocess
import sys
import time

import pytest
import torch

from acs_fast.training import checkpoint
from acs_fast.training.checkpoint import CheckpointError

STATE = {"model": {"w": torch.zeros(3)}, "config": {"eps": 0.1}, "epoch": 4}

WRITER = """
import sys
from pathlib import Path
import torch
from acs_fast.training import checkpoint
path = Path(sys.argv[1])
for epoch in range(10**6):
    tensor = torch.full((200_000,), float(epoch))
    checkpoint.save(path, {"model": {"w": tensor}, "config": {}, "epoch": epoch})
    print(epoch, flush=True)
"""

HOLDER = """
import sys, time
from pathlib import Path
from acs_fast.training import checkpoint
with checkpoint.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def python(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_roundtrip(tmp_path):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, STATE)
    assert checkpoint.load(path, {"eps": 0.1})["epoch"] == 4
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_killed_while_writing_leaves_a_whole_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pt"
    for kill in range(4):
        writer = python(WRITER, path)
        first = int(writer.stdout.readline())
        time.sleep(0.01 + 0.013 * kill)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        state = checkpoint.load(path)
        assert state["epoch"] >= first
        assert torch.equal(state["model"]["w"], torch.full((200_000,), float(state["epoch"])))
    checkpoint.save(path, STATE)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_full_disk_is_named_and_the_last_checkpoint_stays(tmp_path):
    """A limit on the size of files stands for the full disk."""
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, STATE)
    code = (
        "import resource, sys, torch\nfrom pathlib import Path\nfrom acs_fast.training import checkpoint\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    checkpoint.save(Path(sys.argv[1]), {'model': {'w': torch.zeros(10**6)}, 'config': {}, 'epoch': 5})\n"
        "except checkpoint.CheckpointError as error:\n    print(error)\n"
    )
    process = python(code, path)
    out, _ = process.communicate()
    assert f"{path}: cannot be written (File too large); nothing was changed" in out
    assert checkpoint.load(path)["epoch"] == 4
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"file/c\.pt: cannot be written \(Not a directory\)"):
        checkpoint.save(tmp_path / "file" / "c.pt", STATE)
    with pytest.raises(CheckpointError, match="file/run: cannot be written"), checkpoint.locked(tmp_path / "file/run"):
        pass
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(CheckpointError, match="cannot be written"), checkpoint.locked(tmp_path / "locked"):
            pass


def test_two_runs_in_one_folder(tmp_path):
    holder = python(HOLDER, tmp_path)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(CheckpointError, match="another run is at work in it"), checkpoint.locked(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
    with checkpoint.locked(tmp_path):  # a run that was killed leaves no lock
        pass


class Malicious:
    def __reduce__(self):
        return (print, ("executed",))


def test_unusable_checkpoints_are_named(tmp_path, capsys):
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        checkpoint.load(path)
    checkpoint.save(path, STATE)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[:-20], whole[: len(whole) // 2], pickle.dumps(Malicious())):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
            checkpoint.load(path)
    torch.save(Malicious(), path)
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        checkpoint.load(path)
    assert "executed" not in capsys.readouterr().out
    for other in ({"weights": torch.zeros(1)}, {**STATE, "config": []}, [torch.zeros(1)]):
        torch.save(other, path)
        with pytest.raises(CheckpointError, match="is no checkpoint of acs-fast train"):
            checkpoint.load(path)
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"these settings differ: eps \(0.1 there, 0.2 here\)"):
        checkpoint.load(path, {"eps": 0.2})


def test_unusable_json_is_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.read_json(tmp_path / "a.json", {"a"})
    checkpoint.write_json(tmp_path / "a.json", {"b": 1})
    with pytest.raises(CheckpointError, match="was not written by acs-fast train"):
        checkpoint.read_json(tmp_path / "a.json", {"a"})
