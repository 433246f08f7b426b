"""FGSM with prior-guided initialisation: attacks continued from visit to visit."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from acs_fast._util.checks import check_number
from acs_fast._util.dtypes import accumulable
from acs_fast.objectives.ascent import input_gradient
from acs_fast.objectives.attacks import summed_cross_entropy
from acs_fast.objectives.balls import ball
from acs_fast.objectives.base import Attack, Loss, Objective, given
from acs_fast.objectives.cross_entropy import cross_entropy_residual
from acs_fast.objectives.memory_bank import MemoryBank, checked_index
from acs_fast.objectives.model_state import logits_of, untouched


class Starts:
    """The start of each attack, found by the attack's result and kept as long.

    A result is known by its storage, so a detached result is known as well; a copy of one is not.
    """

    def __init__(self) -> None:
        self._by_result = WeakIdKeyDictionary()

    def note(self, x_adv: Tensor, start: Tensor) -> None:
        """Keep the start [B, ...] of the attack with result x_adv [B, ...]."""
        self._by_result[x_adv.untyped_storage()] = start

    def of(self, x_adv: Tensor) -> Tensor:
        """The start [B, ...] of the attack with result x_adv [B, ...].

        Raises:
            ValueError: x_adv is no result of an attack that was noted here, or only a part of one.
        """
        start = self._by_result.get(x_adv.untyped_storage())
        if not isinstance(start, Tensor) or start.shape != x_adv.shape:
            raise ValueError(
                "x_adv must be what perturb returned, whole and no copy: the loss compares the outputs there with "
                "those at the start of that attack"
            )
        return start

    def __reduce__(self) -> tuple[Any, ...]:
        return Starts, ()  # results live in one process; a copy begins empty


class PriorGuidedAttack(Attack):
    """One FGSM step from the sample's prior; arguments as in `FGSMPGI`.

    Args:
        starts: is told where each attack began.
    """

    lengths = ("eps", "alpha")
    remembers = True

    def __init__(
        self,
        eps: float,
        alpha: float | None,
        momentum: float,
        starts: Starts,
        *,
        train_mode: bool,
        seed: int | None,
    ) -> None:
        super().__init__(seed)
        self.eps = ball("linf", eps).eps
        self.alpha = self.eps if alpha is None else check_number("alpha", alpha, low=0.0)
        self.momentum = check_number("momentum", momentum, low=0.0, high=1.0)
        self.train_mode = train_mode
        self._starts = starts
        self._memories = {name: MemoryBank() for name in ("perturbation", "momentum")}

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, start: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        index = None if index is None else checked_index(index, len(x))
        around = ball("linf", self.eps)
        delta = around.random(x, self.generator(x.device)) - x
        if index is not None:
            delta = self._memories["perturbation"].read(index, delta)
        with torch.no_grad():
            begin = around.project(given(start, x + delta), x)
            with untouched(model, self.train_mode):
                gradient = input_gradient(lambda v: summed_cross_entropy(logits_of(model, v), y), begin)
            x_adv = around.project(around.step(begin, gradient, self.alpha), x)
            if index is not None:
                self._remember(index, x, begin, gradient)
        self._starts.note(x_adv, begin)
        return x_adv

    def state_dict(self) -> dict[str, Any]:
        """The random state and everything remembered, for bit-identical resumption."""
        memories = {name: memory.state() for name, memory in self._memories.items()}
        return {"random": super().state_dict(), "memories": memories}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        super().load_state_dict(state["random"])
        for name, memory in self._memories.items():
            memory.load(state["memories"][name])

    def _remember(self, index: Tensor, x: Tensor, begin: Tensor, gradient: Tensor) -> None:
        around = ball("linf", self.eps)
        speed = self._memories["momentum"].read(index, torch.zeros_like(x))
        speed = torch.add(gradient.sign(), speed, alpha=self.momentum)
        onward = around.project(around.step(begin, speed, self.alpha), x)
        self._memories["momentum"].write(index, speed)
        self._memories["perturbation"].write(index, onward - x)


class PriorGuidedLoss(Loss, closed_form=True):
    """Cross-entropy at the end of an attack plus the distance of the logits from those at its start; see `FGSMPGI`.

    Args:
        starts: tells where each attack began.
    """

    def __init__(self, lam: float, starts: Starts, label_smoothing: float) -> None:
        self.lam = check_number("lam", lam, low=0.0)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, low=0.0, high=1.0)
        self._starts = starts

    def views(self, x: Tensor, x_adv: Tensor) -> tuple[Tensor, ...]:
        return self._starts.of(x_adv), x_adv

    def value(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        start, end = logits
        entropy = F.cross_entropy(end, y, reduction="none", label_smoothing=self.label_smoothing)
        return entropy + self.lam * (end - start).square().mean(-1)

    def residuals(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        start, end = (accumulable(z) for z in logits)
        pull = 2.0 * self.lam * (end - start) / end.shape[-1]
        return torch.stack([-pull, cross_entropy_residual(end, y, self.label_smoothing) + pull], 1)


class FGSMPGI(Objective):
    r"""One FGSM step from the sample's prior, with a penalty on logits apart at its two ends.

    .. math:: \delta' = \Pi_{[-\epsilon, \epsilon]}\big(\delta + \alpha\,
              \mathrm{sign}(\nabla_x \mathrm{CE}(f(x + \delta), y))\big), \qquad
              \ell = \mathrm{CE}(f(x + \delta'), y) + \tfrac{\lambda}{C} \|f(x + \delta') - f(x + \delta)\|_2^2

    where delta is what a step along the sample's accumulated gradient signs, ``g <- momentum g + sign(gradient)``,
    reached from its previous start (FGSM-MEP); with momentum 0 that is where the previous attack ended (FGSM-EP). At a
    sample's first visit delta is uniform in the ball. Images are cut to [0, 1].

    The prior is kept by sample number, ``perturb(model, x, y, index=index)``: a perturbation and a momentum of the
    size of an image for each sample, on the device of the images, and part of `state_dict`. Without an index, as in a
    selection, every visit is a first one and nothing is kept. A sample is taken to look the same at every visit: with
    random crops or flips, use another objective.

    The residuals are ``softmax(z') - t + 2 lam (z' - z) / C`` at the end and ``-2 lam (z' - z) / C`` at the start, for
    the logits z at the start and z' at the end, and the label t, smoothed as in `CrossEntropy`.

    Args:
        eps: radius in pixels of [0, 1], >= 0.
        alpha: step size in the same units, by default eps.
        lam: weight of the mean squared difference of the logits, >= 0.
        momentum: decay of the accumulated signs, in [0, 1].
        train_mode, label_smoothing, seed: as in `PGD`.

    Raises:
        ValueError: an argument outside its range; from `perturb`, an index that is not one number an image; from the
            loss, an x_adv that `perturb` did not return.

    Source: Jia et al., "Prior-Guided Adversarial Initialization for Fast Adversarial Training", ECCV 2022.
    """

    def __init__(
        self,
        eps: float,
        alpha: float | None = None,
        lam: float = 10.0,
        momentum: float = 0.3,
        *,
        train_mode: bool = False,
        label_smoothing: float = 0.0,
        seed: int | None = None,
    ) -> None:
        starts = Starts()
        attack = PriorGuidedAttack(eps, alpha, momentum, starts, train_mode=train_mode, seed=seed)
        super().__init__(attack, PriorGuidedLoss(lam, starts, label_smoothing))
