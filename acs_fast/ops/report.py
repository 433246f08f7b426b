"""Reports of operators: outputs are tensors, so notes are taken beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch

from acs_fast._util.stopwatch import Stopwatch


@dataclass(frozen=True)
class Report:
    """An account of one run of an operator.

    Attributes:
        backend: its name, one of `acs_fast.ops.backends.BACKENDS`.
        kernels: whose kernels did which part, and what is missing for better ones.
        path: "dense" or "matrix-free", "columns" or "screening", or both; "" where there is no choice.
        seconds: by stage.
        peak_bytes: above what was allocated before; on a CPU, what was planned for a matrix.
    """

    backend: str
    kernels: str
    path: str
    seconds: dict[str, float]
    peak_bytes: int


@dataclass
class Notes:
    """Taken while an operator runs."""

    watch: Stopwatch
    paths: set[str] = field(default_factory=set)
    matrix_bytes: int = 0

    @property
    def path(self) -> str:
        return " and ".join(sorted(self.paths))


_notes: ContextVar[Notes | None] = ContextVar("acs_fast_notes", default=None)


@contextmanager
def taking_notes(device: torch.device) -> Iterator[Notes]:
    """Collect the notes of operators run inside."""
    notes = Notes(Stopwatch(device))
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)


def stage(name: str) -> AbstractContextManager[None]:
    """Count the enclosed work of an operator towards a stage."""
    notes = _notes.get()
    return nullcontext() if notes is None else notes.watch(name)


def note_seconds(seconds: Mapping[str, float]) -> None:
    """Add seconds by stage, counted by compiled code."""
    notes = _notes.get()
    if notes is not None:
        notes.watch.add(seconds)


def note_path(path: str, matrix_bytes: int = 0) -> None:
    """Note the path of a part of the work, and the size of its matrix."""
    notes = _notes.get()
    if notes is not None:
        notes.paths.add(path)
        notes.matrix_bytes = max(notes.matrix_bytes, matrix_bytes)
