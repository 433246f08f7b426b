"""Projected gradient ascent on the input, which is what every attack here is."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from acs_fast.objectives.balls import Ball


def ascend(loss: Callable[[Tensor], Tensor], x: Tensor, start: Tensor, ball: Ball, alpha: float, steps: int) -> Tensor:
    """`steps` steps of size `alpha` from `start` uphill on `loss`, each projected to the ball around x and to [0, 1].

    Only the gradient with respect to the input is computed.

    Args:
        loss: images [B, ...] to one number, the sum over the batch.
    """
    moved = start
    for _ in range(steps):
        moved = moved.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(loss(moved), moved)
        moved = ball.project(ball.step(moved.detach(), gradient, alpha), x)
    return moved.detach()
