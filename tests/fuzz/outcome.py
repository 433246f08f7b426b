"""What may come of a call: an answer, or an error that somebody has written."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import acs_fast

PACKAGE, FUZZER = str(Path(acs_fast.__file__).parent), str(Path(__file__).parent)
KINDS = (ValueError, TypeError)


class Refused(NamedTuple):
    """The error of a call."""

    kind: type[Exception]
    message: str


COMPILED = "getattr(compiled.MODULE, op)"  # the call of compiled code, whose errors have no line in Python


def outcome(function: Callable[..., Any], *args: Any, kinds: tuple[type[Exception], ...] = (), **options: Any) -> Any:
    """The answer, or `Refused`.

    Fails unless an error was raised on purpose, by a `raise` of the package (or of a test's model), with a message and
    of a kind that is documented: ValueError, TypeError, or one of `kinds`. A backend that is absent may always say so.
    """
    try:
        return function(*args, **options)
    except Exception as error:
        caught = error
    last = traceback.extract_tb(caught.__traceback__)[-1]
    where = f"{last.filename}:{last.lineno}: {type(caught).__name__}: {caught}"
    absent = isinstance(caught, RuntimeError) and "is not available" in str(caught)
    assert absent or isinstance(caught, (*KINDS, *kinds)), f"an error of an unexpected kind: {where}"
    line = linecache.getline(last.filename, last.lineno or 0).strip()
    meant = last.filename.startswith((PACKAGE, FUZZER)) and (line.startswith("raise") or COMPILED in line)
    assert meant, f"an error that nobody has raised on purpose: {where}"
    assert len(str(caught)) > 10, f"an error without a message: {where}"
    return Refused(type(caught), str(caught))


def accepted(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """The answer of a call with arguments that are in order."""
    found = outcome(function, *args, **options)
    assert not isinstance(found, Refused), found
    return found
