"""Problems within groups of samples: one argument of an implementation, four of its operator.

A schema has no structures, so that the operators of the dispatcher take `members, offsets, budgets, budget` one by one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple, get_type_hints

from torch import Tensor


class Problems(NamedTuple):
    """Independent problems, one per group.

    members: [N] int64 sample numbers, those of one group side by side.
    offsets: [G + 1] int64 on the CPU; group i is members[offsets[i]:offsets[i + 1]].
    budgets: [G] int64 on the CPU, how many to pick within each group.
    budget: their sum, k.
    """

    members: Tensor
    offsets: Tensor
    budgets: Tensor
    budget: int


def flattened(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of `problems` as one of its four parts, with the signature to match; any other as it is."""
    hints = get_type_hints(function)
    names = [name for name in hints if name != "return"]
    if Problems not in hints.values():
        return function
    at = next(i for i, name in enumerate(names) if hints[name] is Problems)
    parts = get_type_hints(Problems)

    @wraps(function)
    def flat(*arguments: Any) -> Any:
        stop = at + len(parts)
        return function(*arguments[:at], Problems(*arguments[at:stop]), *arguments[stop:])

    types = [(n, hints[n]) for n in names[:at]] + list(parts.items()) + [(n, hints[n]) for n in names[at + 1 :]]
    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=t) for n, t in types]
    flat.__signature__ = inspect.Signature(parameters, return_annotation=hints["return"])  # type: ignore[attr-defined]
    return flat
