"""Adversarial training with attacks transferred from visit to visit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast._util.checks import check_count
from acs_fast.objectives.attacks import ProjectedAttack, climb_cross_entropy
from acs_fast.objectives.balls import ball
from acs_fast.objectives.base import Attack, Objective, given
from acs_fast.objectives.cross_entropy import CrossEntropy
from acs_fast.objectives.memory_bank import MemoryBank, checked_index


class TransferredAttack(ProjectedAttack):
    """PGD from each sample's previous adversarial example; arguments as in `PGD`."""

    remembers = True

    def __init__(self, *settings: Any, **options: Any) -> None:
        super().__init__(*settings, **options)
        self._memory = MemoryBank()

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, start: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        begin = self.ball.random(x, self.generator(x.device))
        if index is None:
            return climb_cross_entropy(self, model, x, y, begin, start)
        index = checked_index(index, len(x))
        x_adv = climb_cross_entropy(self, model, x, y, begin, given(start, self._moved(x, index)))
        self._memory.write(index, (x_adv - x).detach())
        return x_adv

    def remembered(self, x: Tensor, index: Tensor) -> Tensor:
        """[B, ...] adversarial examples of the samples `index` [B] as they were left; NaN where there are none."""
        return self.ball.project(self._moved(x, index), x)

    def state_dict(self) -> dict[str, Any]:
        """The random state and the perturbations, for bit-identical resumption."""
        return {"random": super().state_dict(), "perturbations": self._memory.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        super().load_state_dict(state["random"])
        self._memory.load(state["perturbations"])

    def _moved(self, x: Tensor, index: Tensor) -> Tensor:
        return x + self._memory.read(index, torch.full_like(x, torch.nan))


class RestingAttack(Attack):
    """Adversarial examples as a `TransferredAttack` left them, at no cost; a sample's first visit is an attack.

    Args:
        attack: gives its perturbations; all state is its own.
    """

    remembers = True

    def __init__(self, attack: TransferredAttack) -> None:
        super().__init__()
        self._attack = attack

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, start: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        if index is None:
            return self._attack(model, x, y, start=start)
        left = self._attack.remembered(x, checked_index(index, len(x)))
        new = left.flatten(1).isnan().any(1)
        if bool(new.any()):
            begin = None if start is None else start[new]
            left[new] = self._attack(model, x[new], y[new], start=begin, index=index[new.to(index.device)])
        return left

    @contextmanager
    def seeded(self, seed: int) -> Iterator[None]:
        """As `Attack.seeded`, for first visits."""
        with self._attack.seeded(seed):
            yield

    def scaled(self, factor: float) -> RestingAttack:
        """The same in the smaller ball of `TransferredAttack.scaled`."""
        return RestingAttack(self._attack.scaled(factor))


class ATTA(Objective):
    r"""PGD of few steps, one by default, from the sample's previous adversarial example.

    .. math:: \delta_t = \Pi_{B(0, \epsilon)}\big(\delta_{t-1} + \alpha\, d(\nabla_x \ell(x + \delta_{t-1}))\big)

    with one such update a visit (a step of PGD, see there). Since the model moves little between two visits, the
    attack grows about as strong as that of many steps, at the price of one.

    Perturbations are kept by sample number, ``perturb(model, x, y, index=index)``: one of the size of an image for each
    sample, on the device of the images, and part of `state_dict`. Without an index, as in a selection, and at the
    sample's first visit the attack begins at a random point of the ball. A sample is taken to look the same at every
    visit: with random crops or flips, undo them first, or use another objective.

    Args:
        eps: radius in pixels of [0, 1], >= 0.
        alpha: step size in the same units, by default eps / steps.
        steps: at each visit, >= 1.
        norm: "linf" or "l2".
        train_mode, label_smoothing, seed: as in `PGD`.

    Raises:
        ValueError: as `PGD`; from `perturb`, an index that is not one number an image.

    Source: Zheng et al., "Efficient Adversarial Training with Transferable Adversarial Examples", CVPR 2020, without
    its matching of augmented views and without its periodic new start.
    """

    attack: TransferredAttack

    def __init__(
        self,
        eps: float,
        alpha: float | None = None,
        steps: int = 1,
        norm: str = "linf",
        *,
        train_mode: bool = False,
        label_smoothing: float = 0.0,
        seed: int | None = None,
    ) -> None:
        step = ball(norm, eps).eps / check_count("steps", steps, low=1) if alpha is None else alpha
        attack = TransferredAttack(eps, step, steps, norm, train_mode=train_mode, seed=seed)
        super().__init__(attack, CrossEntropy(label_smoothing))

    def resting(self) -> Objective:
        """The same objective without a step for samples attacked before.

        Beside the original in a `SelectiveAttack`, the coreset's perturbations move on and all others are used once
        more. It has no state of its own.
        """
        return Objective(RestingAttack(self.attack), self.loss)
