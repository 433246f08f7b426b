"""TRADES: accuracy on clean samples, traded against agreement between clean and adversarial predictions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acs_fast._util.checks import check_number
from acs_fast._util.dtypes import accumulable
from acs_fast.objectives.ascent import ascend
from acs_fast.objectives.attacks import ProjectedAttack
from acs_fast.objectives.balls import unfilled
from acs_fast.objectives.base import Loss, Objective, given
from acs_fast.objectives.cross_entropy import smoothed
from acs_fast.objectives.model_state import logits_of, untouched
from acs_fast.ops.residuals import trades_residuals

START_NOISE = 1e-3  # standard deviation of the start, in pixels: at x itself the KL divergence has no slope


class DivergenceAttack(ProjectedAttack):
    """Projected gradient ascent on the divergence from the clean prediction; arguments as in `PGD`."""

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, start: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        noise = unfilled(x).normal_(0.0, START_NOISE, generator=self.generator(x.device))
        begin = self.ball.project(given(start, x + noise), x)
        with untouched(model, self.train_mode):
            with torch.inference_mode(False), torch.no_grad():
                probabilities = accumulable(logits_of(model, x)).softmax(-1)
            # KL less the entropy of the clean prediction, which has no slope
            return ascend(
                lambda v: -(probabilities * accumulable(logits_of(model, v)).log_softmax(-1)).sum(),
                x, begin, self.ball, self.alpha, self.steps,
            )  # fmt: skip


class TradesLoss(Loss, closed_form=True):
    """Cross-entropy at the sample plus beta times the divergence at the adversarial one; see `TRADES`."""

    def __init__(self, beta: float, label_smoothing: float = 0.0) -> None:
        self.beta = check_number("beta", beta, low=0.0)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, low=0.0, high=1.0)

    def views(self, x: Tensor, x_adv: Tensor) -> tuple[Tensor, ...]:
        return x, x_adv

    def value(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        clean, adversarial = (z.log_softmax(-1) for z in logits)
        entropy = F.nll_loss(clean, y, reduction="none")
        if self.label_smoothing:
            entropy = (1.0 - self.label_smoothing) * entropy - self.label_smoothing * clean.mean(-1)
        return entropy + self.beta * divergence(clean, adversarial)

    def residuals(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        found = trades_residuals(logits[0], logits[1], y, self.beta)
        if not self.label_smoothing:
            return found
        return torch.stack([smoothed(found[:, 0], y, self.label_smoothing), found[:, 1]], 1)


class TRADES(Objective):
    r"""Cross-entropy on the clean sample plus beta times the divergence at the adversarial one.

    .. math:: \ell = \mathrm{CE}(f(x), y) + \beta\, \mathrm{KL}(\mathrm{softmax} f(x) \,\|\, \mathrm{softmax} f(x'))

    The attack climbs the divergence. With p and q the clean and adversarial probabilities and t the label, smoothed as
    in `CrossEntropy`, the residuals are ``p - t + beta p (log p - log q - KL)`` (clean) and ``beta (q - p)``
    (adversarial).

    Args:
        beta: weight of the divergence, >= 0.
        eps, alpha, steps, norm, train_mode, label_smoothing, seed: as in `PGD`.

    Raises:
        ValueError: beta, eps or alpha < 0, eps > 1 for linf, steps < 1, unknown norm, label_smoothing outside [0, 1].

    Source: Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019, Eq. 5.
    """

    def __init__(
        self,
        beta: float,
        eps: float,
        alpha: float,
        steps: int,
        norm: str = "linf",
        *,
        train_mode: bool = False,
        label_smoothing: float = 0.0,
        seed: int | None = None,
    ) -> None:
        attack = DivergenceAttack(eps, alpha, steps, norm, train_mode=train_mode, seed=seed)
        super().__init__(attack, TradesLoss(beta, label_smoothing))


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """[B] = KL(p || q) from log-probabilities [B, C]."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)
