"""Warm-up of eps: attacks grow to their full size over the first steps of training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from acs_fast._util.checks import check_count
from acs_fast.objectives.base import Attack, Objective, ObjectiveWrapper
from acs_fast.objectives.foreign import as_objective
from acs_fast.objectives.model_state import unwrapped


class GrowingAttack(Attack):
    """An objective's attack, growing with the number of batches attacked; see `EpsWarmup`."""

    def __init__(self, objective: Objective, steps: int) -> None:
        super().__init__()
        objective.scaled(1.0)  # raises where there is no radius
        self.objective = objective
        self.steps = check_count("steps", steps, low=1)
        self._taken = 0

    @property
    def current(self) -> Objective:
        """The objective at its present size."""
        return self.objective.scaled(min(1.0, max(1, self._taken) / self.steps))

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, start: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        if unwrapped(model).training:
            self._taken += 1
        return self.current.perturb(model, x, y, start=start, index=index)

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """As the objective."""
        with self.objective.seeded(seed):
            yield

    def state_dict(self) -> dict[str, Any]:
        """The objective's state and the number of batches attacked."""
        return {"objective": self.objective.state_dict(), "taken": self._taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.objective.load_state_dict(state["objective"])
        self._taken = state["taken"]


class EpsWarmup(ObjectiveWrapper):
    r"""Another objective, with its eps and step size growing from nothing to their full size.

    .. math:: \epsilon_t = \epsilon \min(1, t / \mathrm{steps})

    in the t-th batch, from 1 on, that is attacked with the model in training mode. Attacks on a model in evaluation
    mode, as in a selection, have the present size and do not count.

    Args:
        objective: an `Objective` whose attack has a radius, or a `SelectiveAttack` of such.
        steps: batches until the full size, >= 1.

    Raises:
        ValueError: steps < 1.
        TypeError: the radius of the objective's attack is unknown, as in `WithAttack`.

    Example:
        >>> import torch
        >>> from acs_fast.objectives import PGD
        >>> objective = EpsWarmup(PGD(0.1, 0.025, 10, seed=0), steps=4)
        >>> model, x, y = nn.Linear(4, 2).train(), torch.full((1, 4), 0.5), torch.tensor([0])
        >>> [round(float((objective.perturb(model, x, y) - x).abs().max()), 3) for _ in range(5)]
        [0.025, 0.05, 0.075, 0.1, 0.1]
    """

    attack: GrowingAttack

    def __init__(self, objective: Any, steps: int) -> None:
        objective = as_objective(objective)
        super().__init__(GrowingAttack(objective, steps), objective)

    def per_sample_loss(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """[B] losses of the objective at its present size."""
        return self.attack.current.per_sample_loss(model, x, x_adv, y)
