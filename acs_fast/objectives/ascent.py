"""Projected gradient ascent on the input, the core of every attack."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from acs_fast.objectives.balls import Ball


def ascend(loss: Callable[[Tensor], Tensor], x: Tensor, start: Tensor, ball: Ball, alpha: float, steps: int) -> Tensor:
    """`steps` steps of size `alpha` from `start` uphill on `loss`, each projected to the ball around x and to [0, 1].

    Args:
        loss: images [B, ...] to one number, the sum over the batch.
    """
    moved = start
    with torch.inference_mode(False), torch.no_grad():
        x = x.clone() if x.is_inference() else x
        for _ in range(steps):
            moved = ball.project(ball.step(moved, input_gradient(loss, moved), alpha), x)
    return moved.detach()


def input_gradient(loss: Callable[[Tensor], Tensor], x: Tensor, differentiable: bool = False) -> Tensor:
    """The gradient of `loss` with respect to images [B, ...], and nothing else: no gradient of a weight is computed."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
        (gradient,) = torch.autograd.grad(loss(leaf), leaf, create_graph=differentiable)
    return gradient
