"""Backends that are there, and why one is missing."""

import sys
from types import SimpleNamespace

import pytest
import torch

from acs_fast.ops import backends, compiled


def test_the_reason_that_the_build_recorded_is_repeated(monkeypatch, tmp_path):
    record = SimpleNamespace(MISSING={"cpu": "there is no C++ compiler"})
    monkeypatch.setattr(compiled, "MODULE", None)
    monkeypatch.setitem(sys.modules, "acs_fast._build", record)
    assert "there is no C++ compiler" in backends.why_missing("cpu")
    monkeypatch.setitem(sys.modules, "acs_fast._build", None)
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "acs_fast" / "ops" / "compiled.py"))
    assert "pure-Python" in backends.why_missing("cpu")
    (tmp_path / "csrc").mkdir()
    assert f"{tmp_path} is a source tree that was not built: leave the folder" in backends.why_missing("cpu")


def test_selection_without_compiled_code_warns_once(monkeypatch, caplog):
    monkeypatch.setattr(compiled, "MODULE", None)
    backends._warn_of_reference.cache_clear()
    for _ in range(2):
        assert backends.chosen("greedy", "auto", torch.device("cpu")) == "reference"
    backends._warn_of_reference.cache_clear()
    assert [r.message for r in caplog.records if "reference path" in r.message] == [caplog.records[0].message]


def test_an_unknown_or_absent_backend_is_an_error():
    with pytest.raises(RuntimeError, match="not available"):
        backends.chosen("greedy", "triton", torch.device("cpu"))
    with pytest.raises(ValueError, match="backend"):
        backends.chosen("greedy", "gpu", torch.device("cpu"))
