"""Accuracy on clean images and under attack."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from acs_fast._util.progress import progress
from acs_fast.objectives import PGD
from acs_fast.objectives.model_state import untouched
from acs_fast.training.data import Images

BATCH = 512
ABOVE_CHANCE = 0.05  # by how much accuracy under PGD has to exceed guessing before its loss means anything


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
    """Share of images that stay correct as they are and under every restart of an attack, in [0, 1]."""
    return float(standing(model, images, attack, device, restarts, show_progress).sum()) / len(images)


def standing(
    model: nn.Module,
    images: Images,
    attack: PGD,
    device: torch.device,
    restarts: int = 1,
    show_progress: bool = False,
    among: Tensor | None = None,
) -> Tensor:
    """[N] bool on the CPU: which images stay correct as they are and under every restart of an attack?

    Each restart attacks only the images that are still standing, from another random point of the ball.

    Args:
        among: [N] bool, which images to look at (by default all); the others do not stand and are not attacked.
    """
    chosen = torch.arange(len(images)) if among is None else among.nonzero().flatten()
    result = torch.zeros(len(images), dtype=torch.bool)
    with untouched(model):
        batches = _batches(images[chosen], device) if len(chosen) else []
        alive = [correct(model, x, y) for x, y in batches]
        rounds = list(itertools.product(range(len(batches)), range(restarts)))
        for b, _ in progress(rounds, f"PGD-{attack.attack.steps}, eps {attack.attack.eps:.4g}", enabled=show_progress):
            i = alive[b].nonzero().flatten()
            if len(i):
                x, y = batches[b]
                alive[b][i] = correct(model, attack.perturb(model, x[i], y[i]), y[i])
    if batches:
        result[chosen] = torch.cat(alive).cpu()
    return result


def overfits_catastrophically(fgsm: float, robust: float, best_robust: float, chance: float) -> bool:
    """Has training learnt to defeat the one-step attack only?

    True when robust accuracy under PGD is below half its best so far while FGSM accuracy lies above it by more than
    that half. A healthy model keeps the two close, and one that merely diverges loses both. Nothing fires as long as
    the best is that of a model which names one class whatever it sees, and which no attack changes.

    Args:
        fgsm, robust: accuracy under FGSM and under PGD on the same images, in [0, 1].
        best_robust: the highest accuracy under PGD of the epochs before.
        chance: share of the most frequent class.

    Source: the phenomenon: Wong, Rice, Kolter, "Fast is better than free", ICLR 2020, section 5; the rule is our own.
    """
    half = best_robust / 2.0
    return best_robust > chance + ABOVE_CHANCE and robust < half and fgsm - robust > half


def _batches(images: Images, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    pairs = zip(images.x.split(BATCH), images.y.split(BATCH), strict=True)
    return [(x.to(device), y.to(device)) for x, y in pairs]
