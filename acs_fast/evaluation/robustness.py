"""How robust a trained model is: PGD with restarts, AutoAttack, accuracy against eps, and signs of gradient masking."""

from __future__ import annotations

import platform
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import acs_fast
from acs_fast._util.checks import check_count
from acs_fast._util.randomness import derived_seed
from acs_fast.evaluation import autoattack
from acs_fast.evaluation.accuracy import accuracy, standing
from acs_fast.objectives import PGD
from acs_fast.objectives.balls import ball
from acs_fast.training.data import Images, Splits
from acs_fast.training.restore import Restored

STEPS, RESTARTS = 50, 10
CURVE = tuple(i / 4 for i in range(9))  # in multiples of the training eps
LARGE_EPS, LARGE_STEPS = 0.5, 20  # per pixel: every image can become the same grey one
NEAR_ZERO = 0.05
FGSM_MARGIN = 0.005  # FGSM may break an image that PGD missed, but hardly more
SQUARE_MARGIN = 0.002  # that of AutoAttack's own check


@dataclass(frozen=True)
class Plan:
    """What to evaluate: eps in pixels of [0, 1], the eps of the curve in ascending order, at most `limit` images."""

    eps: float
    norm: str
    curve: tuple[float, ...]
    limit: int
    use_autoattack: bool = True
    show_progress: bool = True

    def __post_init__(self) -> None:
        for eps in (self.eps, *self.curve):
            ball(self.norm, eps)
        check_count("test_limit", self.limit, low=1)


def curve_of(training_eps: float, norm: str) -> tuple[float, ...]:
    """The usual grid: 0, 0.25, ... 2 times the training eps (at most 1 for linf)."""
    top = 1.0 if norm == "linf" else float("inf")
    return tuple(sorted({min(m * training_eps, top) for m in CURVE}))


class _Stages:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def end(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now


def evaluate(restored: Restored, splits: Splits, plan: Plan, device: torch.device) -> dict[str, Any]:
    """Everything about a model's robustness, ready to be written as JSON.

    Accuracies are shares in [0, 1]. The PGD figure is that of `acs-fast train` for the same images, eps and norm.
    """
    model, images = restored.model, splits.test.first(plan.limit)
    stages = _Stages()
    clean = {"all": accuracy(model, splits.test, device), "attacked": accuracy(model, images, device)}
    stages.end("clean")
    fgsm = _share(standing(model, images, PGD(plan.eps, plan.eps, 1, plan.norm, random_start=False), device))
    stages.end("fgsm")
    alive = standing(model, images, _pgd(restored, plan, plan.eps), device, RESTARTS, plan.show_progress)
    stages.end("pgd")
    curve = _curve(restored, images, plan, alive, device)
    stages.end("curve")
    large_eps, left = _at_large_eps(restored, images, plan, device)
    stages.end("masking")
    ensemble = _autoattack(restored, images, plan, device)
    stages.end("autoattack")
    pgd = _share(alive)
    return {
        "checkpoint": str(restored.path), "epoch": restored.epoch, "config": restored.config.as_dict(),
        "data": splits.name, "images": {"test": len(splits.test), "attacked": len(images)},
        "classes": restored.classes, "norm": plan.norm, "eps": plan.eps, "steps": STEPS, "restarts": RESTARTS,
        "clean": clean, "fgsm": fgsm, "pgd": pgd, "autoattack": ensemble, "curve": curve,
        "masking": _masking(pgd, fgsm, large_eps, left, ensemble), "seconds": stages.seconds,
        **_machine(device),
    }  # fmt: skip


def _pgd(restored: Restored, plan: Plan, eps: float) -> PGD:
    steps = STEPS if eps > 0.0 else 1
    return PGD(eps, eps / 10, steps, plan.norm, seed=derived_seed("test", restored.config.seed))


def _curve(
    restored: Restored, images: Images, plan: Plan, at_eps: Tensor, device: torch.device
) -> list[dict[str, float]]:
    """Robust accuracy by eps, from one start of PGD each; `at_eps` is what all restarts left at plan.eps.

    Balls are nested: what broke in a smaller one is broken in every larger one and not attacked again. So the curve
    never rises, and what all restarts broke at plan.eps counts from there on.
    """
    points = []
    alive = torch.ones(len(images), dtype=torch.bool)
    for eps in plan.curve:
        if eps >= plan.eps:
            alive = alive & at_eps
        if eps != plan.eps:
            attack = _pgd(restored, plan, eps)
            alive = standing(restored.model, images, attack, device, 1, plan.show_progress, among=alive)
        points.append({"eps": eps, "robust": _share(alive)})
    return points


def _at_large_eps(restored: Restored, images: Images, plan: Plan, device: torch.device) -> tuple[float, float]:
    """An eps at which nothing can be robust, and the accuracy that a short attack leaves there."""
    pixels = images.x[0].numel()
    eps = max(plan.eps, LARGE_EPS if plan.norm == "linf" else LARGE_EPS * pixels**0.5)
    seed = derived_seed("large eps", restored.config.seed)
    attack = PGD(eps, 2.5 * eps / LARGE_STEPS, LARGE_STEPS, plan.norm, seed=seed)
    return eps, _share(standing(restored.model, images, attack, device, 1, plan.show_progress))


def _autoattack(restored: Restored, images: Images, plan: Plan, device: torch.device) -> dict[str, Any]:
    reason = autoattack.why_not(restored.classes, plan.eps) if plan.use_autoattack else "--no-autoattack was given"
    if reason is not None:
        return {"robust": None, "skipped": reason}
    seed = derived_seed("autoattack", restored.config.seed)
    found = autoattack.run(restored.model, images, plan.eps, plan.norm, device, seed, plan.show_progress)
    return {
        "robust": _share(found.standing), "skipped": None, "after": found.after, "warnings": found.warnings,
        "pyautoattack": found.version,
    }  # fmt: skip


def _masking(
    pgd: float, fgsm: float, large_eps: float, at_large_eps: float, ensemble: dict[str, Any]
) -> dict[str, Any]:
    """Signs that gradients lead attacks astray, so that the figures flatter the model.

    Source: Carlini et al., "On Evaluating Adversarial Robustness", 2019; Croce, Hein, ICML 2020 (Square).
    """
    signs = []
    if pgd > fgsm + FGSM_MARGIN:
        signs.append(f"PGD leaves {100 * pgd:.1f} %, more than the {100 * fgsm:.1f} % of one step (FGSM)")
    if at_large_eps > NEAR_ZERO:
        signs.append(f"PGD leaves {100 * at_large_eps:.1f} % at eps {large_eps:.3g}, where it should leave almost none")
    after = ensemble.get("after", {})
    drop = after["fab-t"] - after["square"] if {"fab-t", "square"} <= after.keys() else 0.0
    if drop > SQUARE_MARGIN:
        signs.append(f"Square, which uses no gradients, breaks {100 * drop:.1f} % that gradient attacks did not")
    return {"suspected": bool(signs), "signs": signs, "large_eps": large_eps, "robust_at_large_eps": at_large_eps}


def _share(mask: Tensor) -> float:
    return float(mask.sum()) / len(mask)


def _machine(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "machine": {
            "processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads(),
            "device": str(device), "device_name": name,
        },
        "versions": {
            "acs_fast": acs_fast.__version__, "torch": torch.__version__, "python": sys.version.split()[0],
        },
    }  # fmt: skip
