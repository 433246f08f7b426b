"""Resumable random numbers, and a way to leave everybody else's alone."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Restore the global random state of torch (all initialised devices), numpy and random on leaving."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def derived_seed(*keys: int | str) -> int:
    """A seed derived from every key and their order; the same in every process."""
    return int.from_bytes(hashlib.sha256(repr(keys).encode()).digest()[:7], "little")


def derived_generator(*keys: int | str) -> torch.Generator:
    """A CPU generator seeded by `derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(*keys))
