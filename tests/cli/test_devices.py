"""The device of each process."""

import pytest
import torch
import torch.distributed as dist

from acs_fast.cli.devices import device_of
from acs_fast.training import processes


@pytest.fixture
def torchrun(monkeypatch):
    """As the sixth of eight processes, the second on its machine of four GPUs."""
    for name, value in {"WORLD_SIZE": 8, "RANK": 5, "LOCAL_RANK": 1}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)


@pytest.mark.parametrize("name", [None, "cuda"])
def test_every_process_of_a_machine_has_a_gpu_of_its_own(name, torchrun):
    assert device_of(name) == torch.device("cuda", 1)


def test_a_device_that_was_chosen_stays(torchrun):
    assert device_of("cuda:3") == torch.device("cuda", 3)
    assert device_of("cpu") == torch.device("cpu")


def test_one_process_takes_the_current_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device_of(None) == torch.device("cuda")


@pytest.mark.skipif(not dist.is_available(), reason="this torch has no torch.distributed")
def test_the_gpu_is_current_before_the_group_begins(monkeypatch, torchrun):
    done = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: done.append(str(device)))
    monkeypatch.setattr(dist, "init_process_group", done.append)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: done.append("end"))
    with processes.process_group(torch.device("cuda", 1)):
        assert done == ["cuda:1", "nccl"]
    assert done[-1] == "end"
