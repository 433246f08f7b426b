"""Problems within groups of samples: one argument of an implementation, four of its operator.

A schema has no structures, so that the operators of the dispatcher take `members, offsets, budgets, budget` one by one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, wraps
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


@cache
def flattened(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of `problems` as one of its four parts, with the signature to match; any other as it is."""
    signature = inspect.signature(function, eval_str=True)
    parameters = list(signature.parameters.values())
    at = next((i for i, p in enumerate(parameters) if p.annotation is Problems), None)
    if at is None:
        return function
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parts = [inspect.Parameter(name, kind, annotation=hint) for name, hint in get_type_hints(Problems).items()]
    stop = at + len(parts)

    @wraps(function)
    def flat(*arguments: Any) -> Any:
        return function(*arguments[:at], Problems(*arguments[at:stop]), *arguments[stop:])

    whole = signature.replace(parameters=[*parameters[:at], *parts, *parameters[at + 1 :]])
    flat.__signature__ = whole  # type: ignore[attr-defined]
    return flat
