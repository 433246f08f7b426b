"""A progress bar for work of more than a few seconds; silent where nobody watches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

SHOW_AFTER_S = 2.0


def progress(items: Iterable[T], label: str, total: int | None = None, enabled: bool = True) -> Iterable[T]:
    """The items, with a bar on a terminal (stderr) while they are gone through.

    Args:
        items: anything iterable.
        label: what is going on, shown before the bar.
        total: how many items there are, by default `len(items)` where that exists.
    """
    disable = None if enabled else True  # None: disabled unless stderr is a terminal
    bar: Iterable[T] = tqdm(items, desc=label, total=total, disable=disable, delay=SHOW_AFTER_S, leave=False)
    return bar
