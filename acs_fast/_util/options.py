"""Options as fields of a dataclass: default, help, group and choices stand together, once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Any


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
    """A dataclass field that is also an option of the command line.

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
