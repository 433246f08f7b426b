"""Seconds by stage and paths taken inside an operator: no outputs of it, but notes that `backends.run` takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_local = threading.local()


@contextmanager
def stage(name: str, device: torch.device) -> Iterator[None]:
    """Count the seconds of the enclosed work, which on a GPU is waited for, towards `name`."""
    start = time.perf_counter()
    yield
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = _seconds()
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start


def note_path(name: str) -> None:
    """Say that a part of the work went the "dense" or the "matrix-free" way, where only running it can tell."""
    _paths().add(name)


def note_seconds(seconds: dict[str, float]) -> None:
    """Add seconds by stage that somebody else has counted."""
    for name, spent in seconds.items():
        _seconds()[name] = _seconds().get(name, 0.0) + spent


def take_paths() -> set[str]:
    """What this thread has noted since the last call."""
    taken = set(_paths())
    _paths().clear()
    return taken


def take_seconds() -> dict[str, float]:
    """What this thread has counted since the last call."""
    taken = dict(_seconds())
    _seconds().clear()
    return taken


def _seconds() -> dict[str, float]:
    if not hasattr(_local, "seconds"):
        _local.seconds = {}
    seconds: dict[str, float] = _local.seconds
    return seconds


def _paths() -> set[str]:
    if not hasattr(_local, "paths"):
        _local.paths = set()
    paths: set[str] = _local.paths
    return paths
