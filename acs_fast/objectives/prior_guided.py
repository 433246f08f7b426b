"""FGSM with prior-guided initialisation: the attack goes on from what an earlier one found."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acs_fast._util.checks import check_choice, check_number
from acs_fast.objectives.ascent import input_gradient
from acs_fast.objectives.balls import ball
from acs_fast.objectives.base import Objective, cross_entropy_residual, widened
from acs_fast.objectives.memory_bank import SampleMemory, checked_index
from acs_fast.objectives.model_state import logits_of, untouched
from acs_fast.objectives.standard import summed_cross_entropy

PRIORS = ("batch", "epoch", "momentum")


class FGSMPGI(Objective):
    r"""One FGSM step from the perturbation that an earlier step ended with, and outputs that agree at both ends.

    .. math:: \delta' = \Pi_{[-\epsilon, \epsilon]}\big(\delta + \alpha\,
              \mathrm{sign}(\nabla_x \mathrm{CE}(f(x + \delta), y))\big), \qquad
              \ell = \mathrm{CE}(f(x + \delta'), y) + \tfrac{\lambda}{C} \|f(x + \delta') - f(x + \delta)\|_2^2

    where delta comes from an earlier attack: with prior "batch" (FGSM-BP) from the same place in the previous batch,
    with "epoch" (FGSM-EP) from the same sample's previous visit, and with "momentum" (FGSM-MEP) it is what a step
    along the sample's accumulated gradient signs, ``g <- momentum g + sign(gradient)``, reached from its previous
    start. Where there is nothing to go on from, delta is uniform in the ball. Images are cut to [0, 1].

    The memory of "epoch" and "momentum" is kept by sample number, ``perturb(model, x, y, index=index)``; without an
    index, as in a selection, they fall back to the previous batch without one. It holds one perturbation (and one
    momentum) of the size of an image for each sample, on the device of the images, and is part of `state_dict`. A
    sample is taken to look the same at every visit: with random crops or flips use "batch".

    The residuals are ``softmax(z') - onehot(y) + 2 lam (z' - z) / C`` at the end and ``-2 lam (z' - z) / C`` at the
    start, for the logits z at the start and z' at the end.

    Args:
        eps: radius in pixels of [0, 1], >= 0.
        alpha: step size in the same units, by default eps.
        lam: weight of the mean squared difference of the logits, >= 0.
        prior: "batch", "epoch" or "momentum".
        momentum: decay of the accumulated signs, in [0, 1].
        train_mode, seed: as in `PGD`.

    Raises:
        ValueError: an argument outside its range; from `perturb`, an index that is not one number an image; from the
            loss, an x that is not the batch that `perturb` was last called with.

    Source: Jia et al., "Prior-Guided Adversarial Initialization for Fast Adversarial Training", ECCV 2022.
    """

    def __init__(
        self,
        eps: float,
        alpha: float | None = None,
        lam: float = 10.0,
        prior: str = "momentum",
        momentum: float = 0.3,
        *,
        train_mode: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        self._ball = ball("linf", eps)
        self.eps = self._ball.eps
        self.alpha = self.eps if alpha is None else check_number("alpha", alpha, low=0.0)
        self.lam = check_number("lam", lam, low=0.0)
        self.prior = check_choice("prior", prior, PRIORS)
        self.momentum = check_number("momentum", momentum, low=0.0, high=1.0)
        self.train_mode = train_mode
        self._memories = {name: SampleMemory() for name in ("batch", "perturbation", "momentum")}
        self._index: Tensor | None = None
        self._latest: tuple[Tensor, Tensor] | None = None

    def perturb(self, model: nn.Module, x: Tensor, y: Tensor, *, index: Tensor | None = None) -> Tensor:
        self._index = None if index is None or self.prior == "batch" else checked_index(index, len(x))
        try:
            return super().perturb(model, x, y)
        finally:
            self._index = None

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        random = self._ball.random(x, self.generator(x.device)) - x
        with torch.no_grad():
            start = self._ball.project(x + self._remembered(random), x)
            with untouched(model, self.train_mode):
                gradient = input_gradient(lambda v: summed_cross_entropy(logits_of(model, v), y), start)
            x_adv = self._ball.project(self._ball.step(start, gradient, self.alpha), x)
            self._remember(x, start, x_adv, gradient)
        self._latest = x, start
        return x_adv

    def views(self, x: Tensor, x_adv: Tensor) -> tuple[Tensor, ...]:
        if self._latest is None or not _same(x, self._latest[0]):
            raise ValueError(
                "x must be the batch that perturb was last called with: the loss compares the outputs at its result "
                "with those at the start of that attack"
            )
        return self._latest[1], x_adv

    def loss_from_logits(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        start, end = logits
        return F.cross_entropy(end, y, reduction="none") + self.lam * (end - start).square().mean(-1)

    def residuals(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        start, end = (widened(z) for z in logits)
        pull = 2.0 * self.lam * (end - start) / end.shape[-1]
        return torch.stack([-pull, cross_entropy_residual(end, y) + pull], 1)

    def state_dict(self) -> dict[str, Any]:
        """The random state and everything remembered, for bit-identical resumption."""
        memories = {name: memory.state() for name, memory in self._memories.items()}
        return {"random": super().state_dict(), "memories": memories}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state["random"])
        for name, memory in self._memories.items():
            memory.load(state["memories"][name])
        self._latest = None

    def _remembered(self, otherwise: Tensor) -> Tensor:
        """The initial perturbations [B, ...] of this batch."""
        if self._index is not None:
            return self._memories["perturbation"].read(self._index, otherwise)
        batch = self._memories["batch"]
        if batch.rows.shape[1:] != otherwise.shape[1:]:  # images of another size: nothing to go on from
            batch = self._memories["batch"] = SampleMemory()
        return batch.read(torch.arange(len(otherwise)), otherwise)

    def _remember(self, x: Tensor, start: Tensor, x_adv: Tensor, gradient: Tensor) -> None:
        if self._index is None:
            self._memories["batch"].write(torch.arange(len(x)), x_adv - x)
        elif self.prior == "epoch":
            self._memories["perturbation"].write(self._index, x_adv - x)
        else:
            speed = self._memories["momentum"].read(self._index, torch.zeros_like(x))
            speed = torch.add(gradient.sign(), speed, alpha=self.momentum)
            onward = self._ball.project(self._ball.step(start, speed, self.alpha), x)
            self._memories["momentum"].write(self._index, speed)
            self._memories["perturbation"].write(self._index, onward - x)


def _same(x: Tensor, other: Tensor) -> bool:
    """Whether two batches are the same, by what they are if possible and else by looking."""
    if x.data_ptr() == other.data_ptr() and x.shape == other.shape and x.stride() == other.stride():
        return True
    return x.shape == other.shape and x.device == other.device and torch.equal(x, other)
