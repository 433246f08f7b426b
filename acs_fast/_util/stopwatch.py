"""Seconds by stage, without waiting for a GPU at every stage."""

from __future__ import annotations

import time
from typing import Any

import torch


class Stopwatch:
    """Adds up the time between laps under a name each.

    On a GPU it records events and waits once, in `seconds`, so that each stage is charged with its own work and the
    host never waits for the device in between.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self._laps: list[tuple[str, Any, Any]] = []
        self._last = self._mark()

    def start(self) -> None:
        """Begin a lap; what came before belongs to none."""
        self._last = self._mark()

    def lap(self, name: str) -> None:
        """End a lap and begin the next."""
        now = self._mark()
        self._laps.append((name, self._last, now))
        self._last = now

    def seconds(self) -> dict[str, float]:
        """Seconds by name so far."""
        if self._cuda:
            torch.cuda.synchronize(self._device)
        totals: dict[str, float] = {}
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
