"""The processes of a training: the device of each, and one that has left."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from acs_fast.training import processes
from tests.selection.distributed.ranks import on_ranks


def wait_for_one_that_left(rank: int, ranks: int) -> str:
    if rank == 1:
        return ""
    with pytest.raises(RuntimeError) as failed:
        processes.summed(torch.ones(1))
    return str(failed.value)


def test_training_says_that_a_process_has_left(tmp_path: Path) -> None:
    assert "waited in vain at meeting 1" in on_ranks(2, tmp_path, wait_for_one_that_left)[0]


@pytest.mark.skipif(not dist.is_available(), reason="this torch has no torch.distributed")
def test_the_gpu_is_current_before_the_group_begins(monkeypatch, torchrun):
    done = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: done.append(str(device)))
    monkeypatch.setattr(dist, "init_process_group", done.append)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: done.append("end"))
    with processes.process_group(torch.device("cuda", 1)):
        assert done == ["cuda:1", "nccl"]
    assert done[-1] == "end"
