"""Seconds by stage, without waiting for a GPU at every stage."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.profiler import record_function


class Stopwatch:
    """Adds up the seconds of what `with` blocks enclose, by the name of the stage.

    On a GPU it records events and waits once, in `seconds`, so that each stage is charged with its own work and the
    host never waits for the device in between. Stages have a name in `torch.profiler` too.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self._laps: list[tuple[str, Any, Any]] = []
        self._counted: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the enclosed work towards a stage."""
        begin = self._mark()
        with record_function(f"acs_fast::{stage}"):
            try:
                yield
            finally:
                self._laps.append((stage, begin, self._mark()))

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add seconds counted elsewhere."""
        for name, spent in seconds.items():
            self._counted[name] = self._counted.get(name, 0.0) + spent

    def seconds(self) -> dict[str, float]:
        """Seconds by name so far."""
        if self._cuda:
            torch.cuda.synchronize(self._device)
        totals = dict(self._counted)
        for name, start, end in self._laps:
            spent = start.elapsed_time(end) / 1000.0 if self._cuda else end - start
            totals[name] = totals.get(name, 0.0) + spent
        return totals

    def _mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event
