"""Robustness of a trained model: PGD with restarts, AutoAttack, accuracy against eps, signs of gradient masking."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast._util.checks import as_numbers, check_count, check_number
from acs_fast._util.progress import progress
from acs_fast._util.randomness import derived_seed
from acs_fast._util.stopwatch import Stopwatch
from acs_fast.data import images_and_labels
from acs_fast.evaluation import autoattack
from acs_fast.evaluation.accuracy import correct, example_of, standing
from acs_fast.evaluation.figures import masking, of_parts, share
from acs_fast.objectives import PGD, logits_of, untouched

STEPS, RESTARTS = 50, 10
CURVE = tuple(i / 4 for i in range(9))  # in multiples of eps
LARGE_EPS, LARGE_STEPS = 0.5, 20  # per pixel: every image can become the same grey one


@dataclass(frozen=True)
class Plan:
    """Settings of the attacks; see `evaluate`."""

    eps: float
    norm: str
    steps: int
    restarts: int
    curve: tuple[float, ...]
    limit: int | None
    autoattack: bool
    seed: int

    def __post_init__(self) -> None:
        for eps in (self.eps, *self.curve):
            PGD(eps, eps / 10, self.steps, self.norm)  # checks eps, norm and steps
        check_count("restarts", self.restarts, low=1)
        if self.limit is not None:
            check_count("limit", self.limit, low=1)

    def attack(self, eps: float) -> PGD:
        return PGD(eps, eps / 10, self.steps if eps > 0.0 else 1, self.norm)


def curve_of(eps: float, norm: str) -> tuple[float, ...]:
    """The usual grid: 0, 0.25, ... 2 times eps (at most 1 for linf)."""
    top = 1.0 if norm == "linf" else float("inf")
    return tuple(sorted({min(m * eps, top) for m in CURVE}))


def evaluate(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    eps: float,
    norm: str = "linf",
    steps: int = STEPS,
    restarts: int = RESTARTS,
    curve: Iterable[float] | None = None,
    autoattack: bool = True,
    groups: Any = None,
    limit: int | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Measure how accurate and how robust a model is.

    Args:
        model: takes pixels of [0, 1] and returns logits [B, C]; run in eval mode and left as it was.
        loader: batches (x, y) or dicts, of tensors or arrays, in a fixed order; images are taken in the model's dtype.
        eps: radius of the attacks in pixels of [0, 1].
        norm: "linf" or "l2".
        steps, restarts: of PGD.
        curve: further eps at which to measure accuracy under PGD; by default 0, 0.25, ... 2 times eps.
        autoattack: run AutoAttack too, where there are at least four classes and the package is installed.
        groups: [N] integers in the loader's order: hidden groups to report the worst and the mean accuracy of.
        limit: attack the first so many images only.
        seed: of the attacks.
        device: by default that of the model.
        show_progress: draw a progress bar.

    Returns:
        accuracies as shares in [0, 1]: `clean`, `fgsm`, `pgd`, `robust` (what stood all attacks), `autoattack`
        (`robust` after it, or why it was `skipped`), `curve` by eps, `classes` and `groups` (clean and robust: of each,
        the worst, and balanced), `masking` (signs that gradients mislead the attacks), `seconds` by stage.

    Raises:
        ValueError: an argument outside its range, no images, or groups of another number than images.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> batches = [(torch.rand(8, 1, 2, 2), torch.arange(8) % 2)]
        >>> sorted(evaluate(model, batches, eps=0.1, steps=2, restarts=1))[:4]
        ['autoattack', 'classes', 'clean', 'clean_attacked']
    """
    check_number("eps", eps, low=0.0)
    points = curve_of(eps, norm) if curve is None else tuple(sorted(set(curve)))
    plan = Plan(eps, norm, steps, restarts, points, limit, autoattack, seed)
    if device is None:
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
    example = example_of(model, torch.device(device))
    with untouched(model):
        measured = Measurement(model, plan, torch.device(device))
        for number, batch in enumerate(progress(loader, "evaluation", enabled=show_progress)):
            measured.add(number, *images_and_labels(batch, example))
    if not measured.labels:
        raise ValueError("loader must give at least one batch; got none")
    return measured.result(groups)


@dataclass
class Measurement:
    """Masks of the images left standing, batch after batch."""

    model: nn.Module
    plan: Plan
    device: torch.device
    masks: dict[str, list[Tensor]] = field(default_factory=lambda: defaultdict(list))
    labels: list[Tensor] = field(default_factory=list)
    attacked: int = 0
    large_eps: float = 0.0
    ensemble: autoattack.AutoAttack | None = None
    skipped: str | None = None

    def __post_init__(self) -> None:
        self.watch = Stopwatch(self.device)

    def add(self, number: int, x: Tensor, y: Tensor) -> None:
        """Measure the batch with this number."""
        y = y.to(self.device)
        self.labels.append(y.cpu())
        with self.watch("clean"):
            self.masks["clean"].append(correct(self.model, x, y).cpu())
        left = len(y) if self.plan.limit is None else min(len(y), self.plan.limit - self.attacked)
        if left > 0:
            self.attacked += left
            self._attack(number, x[:left], y[:left])

    def result(self, groups: Tensor | None) -> dict[str, Any]:
        """All figures."""
        plan, y, n = self.plan, torch.cat(self.labels), self.attacked
        masks = {name: torch.cat(parts) for name, parts in self.masks.items()}
        figures = {name: share(mask) for name, mask in masks.items()}
        after = {} if self.ensemble is None else {name: figures[name] for name in self.ensemble.names}
        parts = {"classes": y} | ({} if groups is None else {"groups": _checked(groups, len(y))})
        return {
            "images": {"test": len(y), "attacked": n}, "norm": plan.norm, "eps": plan.eps, "steps": plan.steps,
            "restarts": plan.restarts, "clean": figures["clean"], "clean_attacked": share(masks["clean"][:n]),
            "fgsm": figures["fgsm"], "pgd": figures["pgd"], "robust": figures["robust"],
            "autoattack": self._ensemble_result(after),
            "curve": [{"eps": e, "robust": figures[f"eps {e}"]} for e in plan.curve],
            **{name: {"clean": of_parts(masks["clean"], part), "robust": of_parts(masks["robust"], part[:n])}
               for name, part in parts.items()},
            "masking": masking(figures["pgd"], figures["fgsm"], self.large_eps, figures["large"], after),
            "seconds": self.watch.seconds(),
        }  # fmt: skip

    def _attack(self, number: int, x: Tensor, y: Tensor) -> None:
        plan, seed = self.plan, derived_seed("batch", self.plan.seed, number)
        with self.watch("fgsm"):
            one_step = PGD(plan.eps, plan.eps, 1, plan.norm, random_start=False)
            self.masks["fgsm"].append(standing(self.model, x, y, one_step).cpu())
        with self.watch("pgd"):
            alive = self._standing(x, y, plan.attack(plan.eps), seed, plan.restarts)
            self.masks["pgd"].append(alive.cpu())
        with self.watch("curve"):
            self._curve(x, y, alive, seed)
        with self.watch("masking"):
            scale = 1.0 if plan.norm == "linf" else x[0].numel() ** 0.5
            self.large_eps = max(plan.eps, LARGE_EPS * scale)
            attack = PGD(self.large_eps, 2.5 * self.large_eps / LARGE_STEPS, LARGE_STEPS, plan.norm)
            self.masks["large"].append(self._standing(x, y, attack, seed).cpu())
        with self.watch("autoattack"):
            self.masks["robust"].append((alive & self._autoattack(x, y)).cpu())

    def _standing(
        self, x: Tensor, y: Tensor, attack: PGD, seed: int, restarts: int = 1, among: Tensor | None = None
    ) -> Tensor:
        with attack.seeded(seed):
            return standing(self.model, x, y, attack, restarts, among)

    def _curve(self, x: Tensor, y: Tensor, at_eps: Tensor, seed: int) -> None:
        """Accuracy by eps, from one start of PGD each; `at_eps` is what all restarts left at plan.eps.

        Balls are nested: what broke in a smaller one is broken in every larger one and not attacked again. So the curve
        never rises, and what all restarts broke at plan.eps counts from there on.
        """
        alive = torch.ones_like(at_eps)
        for eps in self.plan.curve:
            if eps >= self.plan.eps:
                alive = alive & at_eps
            if eps != self.plan.eps:
                alive = self._standing(x, y, self.plan.attack(eps), seed, among=alive)
            self.masks[f"eps {eps}"].append(alive.cpu())

    def _autoattack(self, x: Tensor, y: Tensor) -> Tensor:
        """[B] bool: who stands all of AutoAttack; all, where it is left out."""
        if self.skipped is None and self.ensemble is None:
            with torch.no_grad():
                classes = logits_of(self.model, x[:1]).shape[1]
            self.skipped = autoattack.why_not(classes, self.plan.eps) if self.plan.autoattack else "not asked for"
            if self.skipped is None:
                seed = derived_seed("autoattack", self.plan.seed)
                self.ensemble = autoattack.AutoAttack(
                    self.model, classes, self.plan.eps, self.plan.norm, self.device, seed
                )
        if self.ensemble is None:
            return torch.ones_like(y, dtype=torch.bool)
        after = self.ensemble(x, y)
        for name, mask in after.items():
            self.masks[name].append(mask.cpu())
        return after[self.ensemble.names[-1]]

    def _ensemble_result(self, after: dict[str, float]) -> dict[str, Any]:
        if self.ensemble is None:
            return {"robust": None, "skipped": self.skipped}
        return {
            "robust": after[self.ensemble.names[-1]], "skipped": None, "after": after,
            "targets": self.ensemble.targets, "warnings": self.ensemble.warnings,
            "pyautoattack": self.ensemble.version,
        }  # fmt: skip


def _checked(groups: Any, n: int) -> Tensor:
    given = as_numbers("groups", groups).cpu()
    if given.shape != (n,):
        raise ValueError(f"groups must be one integer for each of {n} images; got shape {list(given.shape)}")
    return given
