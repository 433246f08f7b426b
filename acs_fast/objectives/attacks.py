"""Attacks on the cross-entropy, and none at all."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from acs_fast._util.checks import check_count, check_labels, check_number
from acs_fast._util.dtypes import accumulable
from acs_fast.objectives.ascent import ascend
from acs_fast.objectives.balls import Ball, ball
from acs_fast.objectives.base import Attack, given
from acs_fast.objectives.model_state import logits_of, untouched


class NoAttack(Attack):
    """The sample itself."""

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, start: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        return x

    def scaled(self, factor: float) -> NoAttack:
        """Itself: nothing at another size is nothing."""
        return self


class ProjectedAttack(Attack):
    """Base of attacks by steps projected to a ball; arguments as in `PGD`."""

    lengths = ("eps", "alpha")

    def __init__(self, eps: float, alpha: float, steps: int, norm: str, *, train_mode: bool, seed: int | None) -> None:
        super().__init__(seed)
        self.eps, self.norm = ball(norm, eps).eps, norm
        self.alpha = check_number("alpha", alpha, low=0.0)
        self.steps = check_count("steps", steps, low=1)
        self.train_mode = train_mode

    @property
    def ball(self) -> Ball:
        """The norm ball of radius eps."""
        return ball(self.norm, self.eps)


class PGDAttack(ProjectedAttack):
    """Projected gradient ascent on the cross-entropy; arguments as in `PGD`."""

    def __init__(self, *settings: Any, random_start: bool, **options: Any) -> None:
        super().__init__(*settings, **options)
        self.random_start = random_start

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, start: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        begin = self.ball.random(x, self.generator(x.device)) if self.random_start else x
        return climb_cross_entropy(self, model, x, y, begin, start)


def climb_cross_entropy(
    attack: ProjectedAttack, model: nn.Module, x: Tensor, y: Tensor, begin: Tensor, start: Tensor | None
) -> Tensor:
    """The steps of an attack, from `begin` or from what the caller gives in its place."""
    if start is not None:
        begin = attack.ball.project(given(start, begin), x)
    with untouched(model, attack.train_mode):
        return ascend(
            lambda v: summed_cross_entropy(logits_of(model, v), y),
            x, begin, attack.ball, attack.alpha, attack.steps,
        )  # fmt: skip


def summed_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy [] summed over the batch, in float32 or wider. Raises ValueError for labels outside the logits."""
    if y.device.type == "cpu":  # elsewhere the check would wait for the device
        check_labels(y, logits.shape[1], len(logits))
    return F.cross_entropy(accumulable(logits), y, reduction="sum")
