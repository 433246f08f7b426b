"""What is written down of the machine and the code."""

from __future__ import annotations

import pytest

from acs_fast.benchmark import machine


@pytest.mark.parametrize("path", ["/nonexistent", None], ids=["without git", "without .git"])
def test_the_commit_needs_no_git(tmp_path, monkeypatch, path):
    monkeypatch.delenv("ACS_FAST_COMMIT", raising=False)
    if path is not None:
        monkeypatch.setenv("PATH", path)
    assert machine.commit(tmp_path)["sha"] == "unknown"
    monkeypatch.setenv("ACS_FAST_COMMIT", "1234abc")
    assert machine.commit(tmp_path)["sha"] == "1234abc"


def test_machine_says_what_holds_it_to_older_instructions(monkeypatch):
    for name in machine.LIMITING:
        monkeypatch.delenv(name, raising=False)
    assert machine.machine()["held_by"] == {}
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert machine.machine()["held_by"] == {"OPENBLAS_CORETYPE": "Haswell"}
