"""Attacks of two strengths in one batch: strong for the coreset, cheap elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from acs_fast.objectives.base import Attack, Objective, ObjectiveWrapper
from acs_fast.objectives.foreign import as_objective


class Membership(Protocol):
    """A set of samples, as a `SelectiveAttack` asks for it."""

    def contains(self, index: Tensor) -> Tensor:
        """[B] bool, True for the members among the samples `index` [B]."""


class SplitAttack(Attack):
    """One objective's attack for members and another one's for everybody else; see `SelectiveAttack`."""

    def __init__(self, strong: Objective, cheap: Objective, coreset: Membership) -> None:
        super().__init__()
        self.strong, self.cheap = strong, cheap
        self._coreset = coreset

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, start: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        if index is None:
            raise ValueError("index must give the sample numbers [B], by which the coreset is asked; got None")
        inside = self._coreset.contains(index)
        if inside.dtype != torch.bool or inside.shape != (len(x),):
            got = f"{inside.dtype} of shape {list(inside.shape)}"
            raise ValueError(f"coreset.contains must return bool of shape [{len(x)}]; got {got}")
        for objective, alone in ((self.strong, inside.all()), (self.cheap, ~inside.any())):
            if bool(alone):
                return objective.perturb(model, x, y, start=start, index=index)
        x_adv = torch.empty_like(x)
        for mask, objective in ((inside, self.strong), (~inside, self.cheap)):
            here = mask.to(x.device)
            x_adv[here] = objective.perturb(
                model, x[here], y[mask.to(y.device)],
                start=None if start is None else start[here], index=index[mask.to(index.device)],
            )  # fmt: skip
        return x_adv

    def scaled(self, factor: float) -> SplitAttack:
        """The same with both attacks scaled."""
        return SplitAttack(self.strong.scaled(factor), self.cheap.scaled(factor), self._coreset)

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """Inside, both attacks draw from generators of this seed."""
        with self.strong.seeded(seed), self.cheap.seeded(seed):
            yield

    def state_dict(self) -> dict[str, Any]:
        """The states of both attacks."""
        return {"strong": self.strong.state_dict(), "cheap": self.cheap.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.strong.load_state_dict(state["strong"])
        self.cheap.load_state_dict(state["cheap"])


class SelectiveAttack(ObjectiveWrapper):
    """The strong attack for the coreset, the cheap one for everybody else, and the loss of the strong objective.

    Each attack is given its own part of the batch, and none where that is empty. `perturb` needs the sample numbers.

    Args:
        strong: attacks the coreset and gives the loss, such as PGD with many steps. A loss that looks at its own
            attack's start, as `FGSMPGI`'s, cannot be taken of a mixed batch.
        cheap: attacks everything else, such as PGD with one step or `ATTA.resting()`.
        coreset: has `contains(index) -> [B] bool`, such as an `AdversarialCoreset`.

    Raises:
        TypeError: strong or cheap is nothing that `last_layer_gradients` takes as an objective.
        ValueError: from `perturb`, no index, or a coreset whose answer is not one bool a sample.

    Example:
        >>> from acs_fast.objectives import FGSM, PGD
        >>> class Even:
        ...     def contains(self, index):
        ...         return index % 2 == 0
        >>> objective = SelectiveAttack(PGD(0.1, 0.02, 9), FGSM(0.1), Even())
        >>> x, y = torch.rand(3, 4), torch.tensor([0, 1, 0])
        >>> objective.perturb(nn.Linear(4, 2), x, y, index=torch.arange(3)).shape
        torch.Size([3, 4])
    """

    def __init__(self, strong: Any, cheap: Any, coreset: Membership) -> None:
        strong = as_objective(strong)
        super().__init__(SplitAttack(strong, as_objective(cheap), coreset), strong)
