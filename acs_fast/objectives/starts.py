"""The starts of attacks, for losses with a view there."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary


class Starts:
    """The start of each attack, found by the attack's result and kept as long.

    A result is known by its storage, so a detached result is known as well; a copy of one is not.
    """

    def __init__(self) -> None:
        self._by_result = WeakIdKeyDictionary()

    def note(self, x_adv: Tensor, start: Tensor) -> None:
        """Keep the start [B, ...] of the attack with result x_adv [B, ...]."""
        self._by_result[x_adv.untyped_storage()] = start

    def of(self, x_adv: Tensor) -> Tensor:
        """The start [B, ...] of the attack with result x_adv [B, ...].

        Raises:
            ValueError: x_adv is no result of an attack that was noted here, or only a part of one.
        """
        start = self._by_result.get(x_adv.untyped_storage())
        if not isinstance(start, Tensor) or start.shape != x_adv.shape:
            raise ValueError(
                "x_adv must be what perturb returned, whole and no copy: the loss compares the outputs there with "
                "those at the start of that attack"
            )
        return start

    def __reduce__(self) -> tuple[Any, ...]:
        return Starts, ()  # results live in one process; a copy begins empty
