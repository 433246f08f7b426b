"""Accuracy on clean images and under attack."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acs_fast.objectives import PGD
from acs_fast.objectives.model_state import untouched
from acs_fast.progress import progress
from acs_fast.training.data import Images

BATCH = 512


@torch.no_grad()
def correct(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """[B] bool: is the prediction right? The model must be in eval mode."""
    hits: Tensor = model(x).argmax(1) == y
    return hits


def accuracy(model: nn.Module, images: Images, device: torch.device) -> float:
    """Share of images classified correctly, in [0, 1]."""
    hits = 0
    with untouched(model):
        for x, y in _batches(images, device):
            hits += int(correct(model, x, y).sum())
    return hits / len(images)


def robust_accuracy(
    model: nn.Module,
    images: Images,
    attack: PGD,
    device: torch.device,
    restarts: int = 1,
    show_progress: bool = False,
) -> float:
    """Share of images that stay correct as they are and under every restart of an attack, in [0, 1].

    Each restart attacks only the images that are still standing, from another random point of the ball.
    """
    standing = 0
    with untouched(model):
        batches = list(_batches(images, device))
        for x, y in progress(batches, f"PGD-{attack.steps} x {restarts}", enabled=show_progress):
            alive = correct(model, x, y)
            for _ in range(restarts):
                i = alive.nonzero().flatten()
                if not len(i):
                    break
                alive[i] = correct(model, attack.perturb(model, x[i], y[i]), y[i])
            standing += int(alive.sum())
    return standing / len(images)


def _batches(images: Images, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    pairs = zip(images.x.split(BATCH), images.y.split(BATCH), strict=True)
    return [(x.to(device), y.to(device)) for x, y in pairs]
