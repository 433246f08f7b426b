"""Options as fields of a dataclass: default, help, group and choices stand together, once."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from dataclasses import field
from typing import Any, get_args, get_type_hints

KINDS: dict[type, type] = {int: numbers.Integral, float: numbers.Real}  # what else passes for a number of that kind


def option(
    default: Any,
    help: str,
    *,
    group: str = "options",
    choices: Iterable[str] | None = None,
    metavar: str | None = None,
    flag: str | None = None,
    shown: str | None = None,
) -> Any:
    """Declare a dataclass field as an option of the command line.

    Args:
        default: of the field; lists are given as tuples.
        help: one sentence without the default, which follows by itself.
        group: heading in the help.
        choices: the values allowed.
        metavar: stands for the value in the help.
        flag: the option's name where it is not the field's.
        shown: the default in words, where None means something.
    """
    metadata = {
        "help": help, "group": group, "choices": None if choices is None else tuple(choices), "metavar": metavar,
        "flag": flag, "shown": shown,
    }  # fmt: skip
    return field(default=default, metadata=metadata)


def check_kinds(settings: Any) -> None:
    """Raise TypeError unless every field of a dataclass holds a value of the type that it is declared with."""
    for name, hint in get_type_hints(type(settings)).items():
        value, allowed = getattr(settings, name), get_args(hint) or (hint,)
        right = (
            bool in allowed if isinstance(value, bool) else isinstance(value, tuple(KINDS.get(k, k) for k in allowed))
        )
        if not right:
            expected = " or ".join("None" if k is type(None) else k.__name__ for k in allowed)
            raise TypeError(f"{name} must be {expected}; got {type(value).__name__}")
