"""Fixtures of runs of `acs-fast train`: small enough for a test, and the processes that they may have."""

import numpy as np
import pytest
import torch

from acs_fast.cli.main import main
from acs_fast.training import validation

SMALL = ["--limit", "120", "--width", "2", "--batch-size", "32", "--test-limit", "40", "--validation-limit", "20"]


@pytest.fixture
def short_attacks(monkeypatch):
    monkeypatch.setattr(validation, "STEPS", 2)
    monkeypatch.setattr(validation, "FINAL_STEPS", 2)
    monkeypatch.setattr(validation, "FINAL_RESTARTS", 1)


@pytest.fixture
def train(short_attacks):
    """Run `acs-fast train` on little data; returns the exit status."""

    def run(folder, *options):
        return main(["train", *SMALL, "--quiet", "--output", str(folder), *map(str, options)])

    return run


@pytest.fixture
def squares(tmp_path):
    """Write an .npz of bright squares at a place for each class: learnt in an epoch or two."""

    def write(name="squares.npz", classes=3, shape=(6, 6), channels=1, seed=0):
        rng = np.random.default_rng(seed)
        y = np.arange(150) % classes
        x = 0.3 * rng.random((150, *shape, channels), dtype=np.float32)
        for i, label in enumerate(y):
            x[i, 2 * (label % 3) : 2 * (label % 3) + 2, 2 * (label // 3) :] += 0.7
        path = tmp_path / name
        np.savez(path, x_train=x[:100], y_train=y[:100], x_test=x[100:], y_test=y[100:])
        return str(path)

    return write


@pytest.fixture
def folder(tmp_path, train, squares):
    """A trained run of three classes."""
    options = ["--selector", "random", "--objective", "pgd", "--steps", "1", "--epochs", "2", "--eps", "0.1"]
    assert train(tmp_path / "run", *options, "--data", squares("own.npz")) == 0
    return tmp_path / "run"


@pytest.fixture
def torchrun(monkeypatch):
    """As the sixth of eight processes, the second on its machine of four GPUs."""
    for name, value in {"WORLD_SIZE": 8, "RANK": 5, "LOCAL_RANK": 1}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
