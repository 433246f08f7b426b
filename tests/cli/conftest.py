"""Runs small enough for a test of the command line."""

import numpy as np
import pytest

from acs_fast.cli.main import main
from acs_fast.training import validation

SMALL = ["--limit", "120", "--width", "2", "--batch-size", "32", "--test-limit", "40", "--validation-limit", "20"]


@pytest.fixture(autouse=True)
def _short_attacks(monkeypatch):
    monkeypatch.setattr(validation, "STEPS", 2)
    monkeypatch.setattr(validation, "FINAL_STEPS", 2)
    monkeypatch.setattr(validation, "FINAL_RESTARTS", 1)


@pytest.fixture
def train():
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
def failure(capsys):
    """Run a command that must fail; returns the one line that it says."""

    def run(*arguments):
        capsys.readouterr()
        assert main([str(a) for a in arguments]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith(f"acs-fast {arguments[0]}: ")
        return lines[0]

    return run
