"""Runs small enough for a test of the command line."""

import pytest

from acs_fast.cli.main import main
from tests.runs import folder, short_attacks, squares, torchrun, train

__all__ = ["folder", "short_attacks", "squares", "torchrun", "train"]


@pytest.fixture(autouse=True)
def _short_attacks(short_attacks):
    """Of every run."""


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
