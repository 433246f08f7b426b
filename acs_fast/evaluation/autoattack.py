"""AutoAttack: APGD-CE, targeted APGD-DLR, targeted FAB and Square, by the package pyautoattack."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast._util.randomness import preserved_random_state
from acs_fast.evaluation.accuracy import correct

LEAST_CLASSES = 4  # the targeted loss compares the four highest logits
TARGETS = 9  # other classes that the targeted attacks of the standard version aim at
NORMS = {"linf": "Linf", "l2": "L2"}
BATCH = {"cpu": 32, "cuda": 500}
MAX_WARNINGS = 10


def why_not(classes: int, eps: float) -> str | None:
    """Why AutoAttack cannot run here; None when it can."""
    if classes < LEAST_CLASSES:
        return f"it needs at least {LEAST_CLASSES} classes; the model has {classes}"
    if eps == 0.0:
        return "eps is 0, so that there is nothing to perturb"
    try:
        importlib.import_module("pyautoattack")
    except ImportError as error:
        return f"pyautoattack is not installed ({error}): pip install 'acs_fast[eval]'"
    return None


class AutoAttack:
    """The four attacks, each on what the ones before left standing.

    Args:
        model: in eval mode.
        classes: with fewer than ten the targeted attacks aim at all other classes, which are then fewer than the
            standard nine.
        eps: radius in pixels of [0, 1], > 0.
        norm: "linf" or "l2".
        device: of model and images.
        seed: of the attacks.

    Attributes:
        names: of the attacks, in order.
        targets: how many other classes the targeted attacks aim at.
        warnings: what the package warned of so far.

    Source: Croce, Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
    attacks", ICML 2020.
    """

    def __init__(self, model: nn.Module, classes: int, eps: float, norm: str, device: torch.device, seed: int) -> None:
        package: Any = importlib.import_module("pyautoattack")
        self._ensemble = package.AutoAttack(
            model, norm=NORMS[norm], eps=eps, seed=seed, version="standard", device=str(device)
        )
        self.model, self.targets = model, min(TARGETS, classes - 1)
        self._ensemble.apgd_targeted.n_target_classes = self.targets
        self._ensemble.fab.n_target_classes = self.targets
        self.names = list(self._ensemble.attacks_to_run)
        self.batch_size = BATCH.get(device.type, BATCH["cuda"])
        self.version = importlib.metadata.version("pyautoattack")
        self._warnings: dict[str, None] = {}

    @property
    def warnings(self) -> list[str]:
        return list(self._warnings)[:MAX_WARNINGS]

    def __call__(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """[B] bool by attack, True for images still standing. The global random state stays as it was."""
        alive, after = correct(self.model, x, y), {}
        with preserved_random_state(), _warnings_of("auto-attack") as warnings:
            for name in self.names:
                self._ensemble.attacks_to_run = [name]
                for i in alive.nonzero().flatten().split(self.batch_size) if bool(alive.any()) else ():
                    x_adv, _ = self._ensemble.run_standard_evaluation(x[i], y[i], batch_size=len(i))
                    alive[i] = correct(self.model, x_adv, y[i])
                after[name] = alive.clone()
        self._warnings |= dict.fromkeys(warnings)
        return after


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
