"""An exponential moving average of a model: weights, and the statistics of its batch norms."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast._util.checks import check_number


class AveragedModel:
    r"""A slowly following copy of a model, in eval mode.

    .. math:: \bar\theta_t = \bar\theta_{t-1} + (1 - d_t)(\theta_t - \bar\theta_{t-1}), \qquad
        d_t = \min\big(d, \tfrac{1 + t}{10 + t}\big)

    The window grows to its full length over the first steps. Floating buffers, such as the running statistics of batch
    norm, are averaged like weights; integer ones are copied.

    Args:
        model: to follow, without wrappers.
        decay: d in [0, 1].

    Attributes:
        module: the averaged model.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps = check_number("decay", decay, low=0.0, high=1.0), 0
        self.module = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take one step of the model in; call it after the optimiser's."""
        weight = 1.0 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        own, new = _tensors(self.module), _tensors(model)
        pairs = [(a, b) for a, b in zip(own, new, strict=True) if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in pairs], [b for _, b in pairs], weight)
        for a, b in zip(own, new, strict=True):
            if not a.is_floating_point():
                a.copy_(b)

    def state_dict(self) -> dict[str, Any]:
        """The averaged model and the number of steps."""
        return {"steps": self.steps, "model": self.module.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what `state_dict` returned."""
        self.steps = int(state["steps"])
        self.module.load_state_dict(state["model"])


def _tensors(model: nn.Module) -> list[Tensor]:
    return [t.detach() for t in (*model.parameters(), *model.buffers())]
