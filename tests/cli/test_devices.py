"""The device of each process."""

import pytest
import torch

from acs_fast.cli.devices import device_of


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
