"""All samples in turn."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from acs_fast._util.randomness import derived_generator
from acs_fast.coreset import Coreset
from acs_fast.gradients.factored import LastLayerGradients


class RoundRobin:
    """The samples in turn, in one random order: each is chosen once before any is chosen again.

    It keeps its place and its order, so that every training has one of its own.
    """

    needs_gradients = False
    lasts = "epoch"

    def __init__(self) -> None:
        self._seed: int | None = None  # of the order, drawn at the first selection
        self._next = 0

    def __repr__(self) -> str:
        return "RoundRobin()"

    def select(
        self, n: int, budget: int, gradients: LastLayerGradients | None, labels: Tensor | None, seed: int
    ) -> Coreset:
        """See `Selector.select`; gradients are ignored, and the seed after the first time."""
        self._seed = seed if self._seed is None else self._seed
        order = torch.randperm(n, generator=derived_generator("round robin", self._seed))
        picks = order[(self._next + torch.arange(budget)) % n]
        self._next = (self._next + budget) % n
        return Coreset(picks, torch.full((budget,), n / budget), torch.zeros(budget))

    def state_dict(self) -> dict[str, Any]:
        """Its order and its place."""
        return {"seed": self._seed, "next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what `state_dict` returned."""
        self._seed, self._next = state["seed"], state["next"]
