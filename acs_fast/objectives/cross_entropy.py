"""Cross-entropy, and its objectives without an attack, with FGSM and with PGD."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from acs_fast._util.checks import as_tensors, check_number
from acs_fast.objectives.attacks import NoAttack, PGDAttack
from acs_fast.objectives.balls import ball
from acs_fast.objectives.base import Loss, Objective
from acs_fast.ops.residuals import cross_entropy_residuals


class CrossEntropy(Loss, closed_form=True):
    r"""Cross-entropy at the adversarial example, with the label smoothed over all classes.

    .. math:: \ell = -\sum_c t_c \log q_c, \qquad t = (1 - s)\, \mathrm{onehot}(y) + s / C

    for smoothing s. The residual is ``q - t``.

    Args:
        label_smoothing: s in [0, 1].

    Raises:
        ValueError: label_smoothing outside [0, 1].

    Example:
        >>> import torch
        >>> CrossEntropy(0.5).residuals((torch.zeros(1, 2),), torch.tensor([0]))
        tensor([[[-0.2500,  0.2500]]])

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 7.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = check_number("label_smoothing", label_smoothing, low=0.0, high=1.0)

    def value(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        return F.cross_entropy(logits[0], y, reduction="none", label_smoothing=self.label_smoothing)

    def residuals(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        return cross_entropy_residual(logits[0], y, self.label_smoothing)[:, None]


def cross_entropy_residual(logits: Tensor, y: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """[B, C] = softmax(z) - t, with the smoothed label t of `CrossEntropy`."""
    return smoothed(cross_entropy_residuals(logits, y), y, label_smoothing)


def smoothed(residuals: Tensor, y: Tensor, label_smoothing: float) -> Tensor:
    """Residuals [B, C] of plain labels, moved to those of smoothed ones: + s (onehot(y) - 1 / C)."""
    if not label_smoothing:
        return residuals
    moved = residuals - label_smoothing / residuals.shape[-1]
    return moved.scatter_add_(1, y[:, None], moved.new_full((len(y), 1), label_smoothing))


class Vanilla(Objective):
    """Training without an attack: cross-entropy at the sample itself.

    Args:
        label_smoothing: see `CrossEntropy`.

    Example:
        >>> import torch
        >>> model, x, y = torch.nn.Linear(4, 3), torch.rand(2, 4), torch.tensor([0, 2])
        >>> bool((Vanilla().perturb(model, x, y) == x).all())
        True
    """

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        super().__init__(NoAttack(), CrossEntropy(label_smoothing))

    def perturb(
        self, model: nn.Module, x: Tensor, y: Tensor, *, start: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        """x itself; any range is fine, since there is no eps to measure."""
        itself: Tensor = as_tensors(model, x=x)[0]
        return itself


class PGD(Objective):
    r"""Adversarial training with projected gradient ascent.

    .. math:: x^{t+1} = \Pi_{B(x, \epsilon) \cap [0, 1]}\big(x^t + \alpha\, d(\nabla_x \ell)\big)

    with d the sign for l-infinity and the normalised gradient for l2. The attack climbs the cross-entropy of the label
    without smoothing.

    Args:
        eps: radius in pixels of [0, 1], >= 0.
        alpha: step size in the same units, >= 0.
        steps: number of steps, >= 1.
        norm: "linf" or "l2".
        random_start: begin at a random point of the ball (else at x).
        train_mode: attack with the model in train mode (its statistics are put back); default is eval mode.
        label_smoothing: see `CrossEntropy`.
        seed: of the random starts; by default torch's initial seed.

    Raises:
        ValueError: eps or alpha < 0, eps > 1 for linf, steps < 1, unknown norm, label_smoothing outside [0, 1].

    Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018.
    """

    attack: PGDAttack

    def __init__(
        self,
        eps: float,
        alpha: float,
        steps: int,
        norm: str = "linf",
        *,
        random_start: bool = True,
        train_mode: bool = False,
        label_smoothing: float = 0.0,
        seed: int | None = None,
    ) -> None:
        attack = PGDAttack(eps, alpha, steps, norm, random_start=random_start, train_mode=train_mode, seed=seed)
        super().__init__(attack, CrossEntropy(label_smoothing))


class FGSM(Objective):
    r"""Fast adversarial training: one step from a random start in the l-infinity ball.

    Args:
        eps: radius in pixels of [0, 1], >= 0.
        alpha: step size, by default 1.25 eps.
        train_mode, label_smoothing, seed: as in `PGD`.

    Raises:
        ValueError: eps or alpha < 0, eps > 1, or label_smoothing outside [0, 1].

    Source: Wong, Rice, Kolter, "Fast is better than free: Revisiting adversarial training", ICLR 2020.
    """

    def __init__(
        self,
        eps: float,
        alpha: float | None = None,
        *,
        train_mode: bool = False,
        label_smoothing: float = 0.0,
        seed: int | None = None,
    ) -> None:
        eps = check_number("eps", eps, low=0.0)
        step = 1.25 * ball("linf", eps).eps if alpha is None else alpha
        attack = PGDAttack(eps, step, 1, "linf", random_start=True, train_mode=train_mode, seed=seed)
        super().__init__(attack, CrossEntropy(label_smoothing))
