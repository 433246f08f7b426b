"""What a test needs that a machine may lack: it skips with the reason, or fails where ACS_FAST_REQUIRE says so."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
# of programs that are not Python's: what make sanitize or make checked preloads is none of theirs
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
REQUIRED = frozenset(filter(None, os.environ.get("ACS_FAST_REQUIRE", "").split(",")))


def need(backend: str, there: bool, reason: str) -> None:
    """Skip unless `there`; fail instead when `backend` is required."""
    if there:
        return
    if backend in REQUIRED:
        pytest.fail(f"ACS_FAST_REQUIRE has {backend}, but {reason}")
    pytest.skip(reason, allow_module_level=True)


def need_triton() -> None:
    need("triton", importlib.util.find_spec("triton") is not None, "triton is not installed")


def need_gpu(backend: str) -> None:
    need(backend, torch.cuda.is_available(), "there is no GPU")


def need_tool(backend: str, *names: str) -> str:
    """The path of the first program of these that is there."""
    for name in names:
        found = shutil.which(name) or shutil.which(name, path="/usr/local/cuda/bin")
        if found:
            return found
    need(backend, False, f"{' or '.join(names)} is not installed")
    raise AssertionError("unreachable")
