"""Descriptions and states of a run's parts, for checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
from torch import Tensor


def described(part: Any) -> str:
    """A description of a part, the same in every process."""
    if isinstance(part, FunctionType):  # whose own has an address in it
        return f"{part.__module__}.{part.__qualname__}"
    kind: Any = type(part)
    return f"{kind.__module__}.{kind.__qualname__}" if kind.__repr__ is object.__repr__ else repr(part)


def digest(values: Iterable[Tensor]) -> str:
    """A few digits that differ where a bit of the values does."""
    found = hashlib.sha256()
    for value in values:
        found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]


def check_same_settings(own: dict[str, Any], saved: dict[str, Any]) -> None:
    """Raise ValueError, naming what differs, unless a state was saved under the same settings."""
    different = [f"{k} (here {own[k]!r}, there {saved.get(k)!r})" for k in own if own[k] != saved.get(k)]
    if different:
        raise ValueError(f"state must be of a run with the same settings; these differ: {', '.join(different)}")


def check_complete(state: Any, names: set[str]) -> None:
    """Raise ValueError, naming what is missing, unless a state holds these entries."""
    missing = sorted(names - state.keys()) if isinstance(state, dict) else sorted(names)
    if missing:
        raise ValueError(f"state must be what state_dict() returned; it lacks {', '.join(missing)}")


@contextmanager
def reading_state() -> Iterator[None]:
    """Inside, whatever a state of another kind causes is raised as a ValueError that says so."""
    try:
        yield
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"state must be what state_dict() returned; it cannot be read ({error})") from error


def state_of(part: Any) -> dict[str, Any]:
    """The part's `state_dict()`; empty where it has none."""
    return part.state_dict() if hasattr(part, "state_dict") else {}


def load_state(part: Any, state: dict[str, Any]) -> None:
    """Give a part what `state_of` returned."""
    if state and hasattr(part, "load_state_dict"):
        part.load_state_dict(state)
