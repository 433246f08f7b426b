"""Adversarial training whose attack begins where the sample's last one ended."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from acs_fast.objectives.base import CrossEntropy, Objective
from acs_fast.objectives.memory_bank import SampleMemory, checked_index
from acs_fast.objectives.standard import PGD


class ATTA(PGD):
    r"""PGD with few steps, one by default, that goes on from the sample's previous adversarial example.

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
        train_mode, seed: as in `PGD`.

    Raises:
        ValueError: as `PGD`; from `perturb`, an index that is not one number an image.

    Source: Zheng et al., "Efficient Adversarial Training with Transferable Adversarial Examples", CVPR 2020, without
    its matching of augmented views and without its periodic new start.
    """

    def __init__(
        self,
        eps: float,
        alpha: float | None = None,
        steps: int = 1,
        norm: str = "linf",
        *,
        train_mode: bool = False,
        seed: int | None = None,
    ) -> None:
        step = eps / max(1, steps) if alpha is None else alpha
        super().__init__(eps, step, steps, norm, train_mode=train_mode, seed=seed)
        self._memory = SampleMemory()

    def perturb(self, model: nn.Module, x: Tensor, y: Tensor, *, index: Tensor | None = None) -> Tensor:
        if index is None:
            return super().perturb(model, x, y)
        index = checked_index(index, len(x))
        x_adv = self.perturb_from(model, x, y, self._memory.read(index, torch.full_like(x, torch.nan)))
        self._memory.write(index, (x_adv - x).detach())
        return x_adv

    def remembered(self, x: Tensor, index: Tensor) -> Tensor:
        """[B, ...] adversarial examples of the samples `index` [B] as they were left; NaN where there are none."""
        return self._ball.project(x + self._memory.read(index, torch.full_like(x, torch.nan)), x)

    def resting(self) -> Objective:
        """The same objective without a step for samples that it has attacked before; see `RestingATTA`."""
        return RestingATTA(self)

    def state_dict(self) -> dict[str, Any]:
        """The random state and the perturbations, for bit-identical resumption."""
        return {"random": super().state_dict(), "perturbations": self._memory.state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state["random"])
        self._memory.load(state["perturbations"])


class RestingATTA(CrossEntropy):
    """Adversarial examples as an `ATTA` left them, at no cost; a sample's first visit is one of that attack.

    With `perturb_allocated` it is the cheap attack beside that `ATTA`: the coreset's perturbations move on, all others
    are used once more. It has no state of its own.

    Args:
        attack: whose perturbations to use.
    """

    def __init__(self, attack: ATTA) -> None:
        super().__init__()
        self._atta = attack

    def perturb(self, model: nn.Module, x: Tensor, y: Tensor, *, index: Tensor | None = None) -> Tensor:
        if index is None:
            return self._atta.perturb(model, x, y)
        left = self._atta.remembered(x, checked_index(index, len(x)))
        new = left.flatten(1).isnan().any(1)
        if bool(new.any()):
            left[new] = self._atta.perturb(model, x[new], y[new], index=index[new.to(index.device)])
        return left
