"""Triton kernels run on the GPU where there is one, else in Triton's interpreter, on small shapes."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(autouse=True)
def _poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kernel leaves unwritten fails the comparison."""
    empty = torch.empty

    def poisoned(*args, **kwargs):
        x = empty(*args, **kwargs)
        return x.fill_(torch.nan if x.dtype.is_floating_point else -(2**31) if x.dtype.itemsize >= 4 else 85)

    monkeypatch.setattr(torch, "empty", poisoned)
