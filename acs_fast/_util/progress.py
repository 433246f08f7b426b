"""A progress bar for whatever takes longer than a few seconds. Silent on what is quick."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TextIO, TypeVar

T = TypeVar("T")

SHOW_AFTER_S = 2.0
REDRAW_EVERY_S = 0.2
LINE_EVERY_S = 30.0  # where the output is no terminal
WIDTH = 24


def progress(
    items: Iterable[T], label: str, total: int | None = None, enabled: bool = True, stream: TextIO | None = None
) -> Iterator[T]:
    """Yield the items, drawing a bar on a terminal (stderr), or a line now and then elsewhere.

    Args:
        items: anything iterable.
        label: what is going on, shown before the bar.
        total: how many items there are, by default `len(items)` where that exists.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    out = sys.stderr if stream is None else stream
    terminal = out.isatty()
    start = last = time.monotonic()
    drawn = False
    for count, item in enumerate(items):
        now = time.monotonic()
        every = REDRAW_EVERY_S if terminal else LINE_EVERY_S
        if enabled and now - start > SHOW_AFTER_S and now - last > every:
            out.write(f"\r\033[K{_line(label, count, total, now - start)}" if terminal else "")
            out.write("" if terminal else f"{_line(label, count, total, now - start)}\n")
            out.flush()
            last, drawn = now, True
        yield item
    if drawn and terminal:
        out.write("\r\033[K")
        out.flush()


def _line(label: str, count: int, total: int | None, seconds: float) -> str:
    if not total:
        return f"{label}: {count} in {seconds:.0f} s"
    filled = WIDTH * count // total
    left = seconds * (total - count) / count if count else float("nan")
    return f"{label} [{'#' * filled}{'.' * (WIDTH - filled)}] {count}/{total}, {seconds:.0f} s, about {left:.0f} s left"
