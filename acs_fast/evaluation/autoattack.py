"""AutoAttack (standard): APGD-CE, targeted APGD-DLR, targeted FAB and Square, by the package pyautoattack."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast._util.progress import progress
from acs_fast._util.randomness import preserved_random_state
from acs_fast.evaluation.accuracy import correct
from acs_fast.objectives.model_state import untouched
from acs_fast.training.data import Images

LEAST_CLASSES = 10  # the targeted attacks of the standard version aim at nine other classes
NORMS = {"linf": "Linf", "l2": "L2"}
BATCH = {"cpu": 32, "cuda": 500}  # small enough for a bar that moves
MAX_WARNINGS = 10


@dataclass(frozen=True)
class AutoAttackResult:
    """standing [N] bool; robust accuracy in [0, 1] after each attack in turn; what the attacks warned of."""

    standing: Tensor
    after: dict[str, float]
    warnings: list[str]
    version: str


def why_not(classes: int, eps: float) -> str | None:
    """Why AutoAttack cannot run here; None when it can."""
    if classes < LEAST_CLASSES:
        return f"the standard version needs at least {LEAST_CLASSES} classes; the model has {classes}"
    if eps == 0.0:
        return "eps is 0, so that there is nothing to perturb"
    try:
        importlib.import_module("pyautoattack")
    except ImportError as error:
        return f"pyautoattack is not installed ({error}): pip install 'acs_fast[eval]'"
    return None


def run(
    model: nn.Module,
    images: Images,
    eps: float,
    norm: str,
    device: torch.device,
    seed: int,
    show_progress: bool = False,
) -> AutoAttackResult:
    """Attack with each of the four in turn what the ones before left standing.

    Leaves the model and the global random state as they were.

    Args:
        images: x [N, channels, height, width] in [0, 1], y [N].
        eps: radius in pixels of [0, 1], > 0.
        norm: "linf" or "l2".

    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks", ICML 2020.
    """
    package: Any = importlib.import_module("pyautoattack")
    with untouched(model), preserved_random_state(), _warnings_of("auto-attack") as warnings:
        ensemble = package.AutoAttack(
            model, norm=NORMS[norm], eps=eps, seed=seed, version="standard", device=str(device)
        )
        alive = _still_correct(model, images, device)
        after = {}
        for name in list(ensemble.attacks_to_run):
            ensemble.attacks_to_run = [name]
            parts = alive.nonzero().flatten().split(BATCH.get(device.type, BATCH["cuda"])) if alive.any() else ()
            for i in progress(parts, f"AutoAttack: {name}", enabled=show_progress):
                x, y = images.x[i].to(device), images.y[i].to(device)
                x_adv, _ = ensemble.run_standard_evaluation(x, y, batch_size=len(i))
                alive[i] = correct(model, x_adv, y).cpu()
            after[name] = float(alive.sum()) / len(images)
    unique = list(dict.fromkeys(warnings))[:MAX_WARNINGS]
    return AutoAttackResult(alive, after, unique, importlib.metadata.version("pyautoattack"))


def _still_correct(model: nn.Module, images: Images, device: torch.device) -> Tensor:
    parts = zip(images.x.split(500), images.y.split(500), strict=True)
    return torch.cat([correct(model, x.to(device), y.to(device)).cpu() for x, y in parts])


@contextmanager
def _warnings_of(logger: str) -> Iterator[list[str]]:
    """Inside: what a logger warns of is kept in the list and printed nowhere."""
    kept: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            kept.append(record.getMessage())

    source, handler = logging.getLogger(logger), Keep(logging.WARNING)
    propagated, source.propagate = source.propagate, False
    source.addHandler(handler)
    try:
        yield kept
    finally:
        source.removeHandler(handler)
        source.propagate = propagated
