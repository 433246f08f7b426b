"""Accuracy on clean images and under attack."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast._util.progress import progress
from acs_fast._util.randomness import derived_seed
from acs_fast.data import images_and_labels
from acs_fast.objectives import PGD, logits_of, untouched

ABOVE_CHANCE = 0.05  # by how much accuracy under PGD has to exceed guessing before its loss means anything


def example_of(model: nn.Module, device: torch.device) -> Tensor:
    """An empty tensor on a device, in the dtype of a model's parameters; not floating where there are none."""
    return torch.empty(0, dtype=next((p.dtype for p in model.parameters()), torch.int64), device=device)


@torch.no_grad()
def correct(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """[B] bool: is the prediction right? The model must be in eval mode."""
    return logits_of(model, x).argmax(1) == y


def standing(
    model: nn.Module, x: Tensor, y: Tensor, attack: PGD | None, restarts: int = 1, among: Tensor | None = None
) -> Tensor:
    """[B] bool, True for images classified correctly as they are and under every restart of an attack.

    Each restart attacks only the images that are still standing, from another random point of the ball.

    Args:
        model: in eval mode.
        attack: None for the images as they are.
        among: [B] bool, which images to look at (by default all); the others do not stand and are not attacked.
    """
    alive = correct(model, x, y)
    if among is not None:
        alive &= among
    for _ in range(restarts if attack is not None else 0):
        i = alive.nonzero().flatten()
        if not len(i):
            break
        alive[i] = correct(model, attack.perturb(model, x[i], y[i]), y[i])  # type: ignore[union-attr]
    return alive


def count_standing(
    model: nn.Module,
    loader: Iterable[Any],
    attack: PGD | None,
    device: torch.device,
    *,
    restarts: int = 1,
    seed: int = 0,
    numbers: Iterable[int] | None = None,
    show_progress: bool = False,
) -> Tensor:
    """[2] on the CPU: the number of images classified correctly under an attack, and of all.

    Args:
        loader: batches (x, y) or dicts.
        attack: None for the images as they are.
        seed: of the attack; each batch has a seed of its own, derived from its number.
        numbers: of the batches, where they are not 0, 1, 2, ...
    """
    like = example_of(model, device)
    counts, label = torch.zeros(2), "clean" if attack is None else f"PGD-{attack.attack.steps}"
    with untouched(model):
        numbered = zip(itertools.count() if numbers is None else numbers, loader, strict=False)
        for number, batch in progress(numbered, label, enabled=show_progress):
            x, y = (t.to(device) for t in images_and_labels(batch, like))
            with nullcontext() if attack is None else attack.seeded(derived_seed("batch", seed, number)):
                alive = standing(model, x, y, attack, restarts)
            counts += torch.tensor([float(alive.sum()), len(y)])
    return counts


def accuracy(model: nn.Module, loader: Iterable[Any], device: torch.device) -> float:
    """Share of images classified correctly, in [0, 1]."""
    hits, every = count_standing(model, loader, None, device).tolist()
    return float(hits / every)


def robust_accuracy(
    model: nn.Module, loader: Iterable[Any], attack: PGD, device: torch.device, restarts: int = 1, seed: int = 0
) -> float:
    """Share of images classified correctly as they are and under every restart of an attack, in [0, 1]."""
    hits, every = count_standing(model, loader, attack, device, restarts=restarts, seed=seed).tolist()
    return float(hits / every)


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
