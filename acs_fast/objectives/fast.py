"""Single-step objectives against catastrophic overfitting: N-FGSM and gradient alignment."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acs_fast._util.checks import as_tensors, check_number
from acs_fast.objectives.ascent import input_gradient
from acs_fast.objectives.attacks import PGDAttack, summed_cross_entropy
from acs_fast.objectives.balls import LinfBall, ball
from acs_fast.objectives.base import Attack, Objective, given
from acs_fast.objectives.cross_entropy import CrossEntropy
from acs_fast.objectives.model_state import logits_of, untouched, unwrapped


class NoisyStep(Attack):
    """One step from a noisy image, cut to [0, 1] only; arguments as in `NFGSM`."""

    lengths = ("eps", "alpha")

    def __init__(self, eps: float, alpha: float | None, k: float, *, train_mode: bool, seed: int | None) -> None:
        super().__init__(seed)
        self.eps = ball("linf", eps).eps
        self.alpha = self.eps if alpha is None else check_number("alpha", alpha, low=0.0)
        self.k = check_number("k", k, low=0.0)
        self.train_mode = train_mode

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, start: Tensor | None = None, index: Tensor | None = None
    ) -> Tensor:
        noisy = given(start, LinfBall(self.k * self.eps).random(x, self.generator(x.device)))
        with untouched(model, self.train_mode):
            gradient = input_gradient(lambda v: summed_cross_entropy(logits_of(model, v), y), noisy)
        return torch.add(noisy, gradient.sign(), alpha=self.alpha).clamp_(0.0, 1.0)


class NFGSM(Objective):
    r"""Noise-FGSM: a step from a noisy image, with nothing cut back to the ball.

    .. math:: x' = \big[\, x + \eta + \alpha\, \mathrm{sign}(\nabla_x \ell(x + \eta)) \,\big]_0^1, \qquad
              \eta \sim U(-k \epsilon, k \epsilon)

    The only cut is that of the noisy image and of the result to [0, 1], so a pixel moves by up to ``k eps + alpha``:
    `perturb` may leave the ball of radius eps, on purpose.

    Args:
        eps: radius that the model is to withstand, in pixels of [0, 1], >= 0.
        alpha: step size in the same units, by default eps.
        k: size of the noise relative to eps, >= 0.
        train_mode, label_smoothing, seed: as in `PGD`.

    Raises:
        ValueError: eps, alpha or k < 0, eps > 1, or label_smoothing outside [0, 1].

    Source: de Jorge et al., "Make Some Noise: Reliable and Efficient Single-Step Adversarial Training", NeurIPS 2022.
    """

    def __init__(
        self,
        eps: float,
        alpha: float | None = None,
        k: float = 2.0,
        *,
        train_mode: bool = False,
        label_smoothing: float = 0.0,
        seed: int | None = None,
    ) -> None:
        attack = NoisyStep(eps, alpha, k, train_mode=train_mode, seed=seed)
        super().__init__(attack, CrossEntropy(label_smoothing))


class GradAlignFGSM(Objective):
    r"""FGSM from the image itself, with a penalty on gradients turning within the ball.

    .. math:: \ell = \mathrm{CE}(f(x'), y) + \lambda\, \big(1 - \cos(\nabla_x \mathrm{CE}(f(x), y),
              \nabla_x \mathrm{CE}(f(x + \eta), y))\big), \qquad \eta \sim U(-\epsilon, \epsilon)

    Both gradients are differentiated; where one of them is zero the penalty is zero. The noise is drawn anew at each
    call of `per_sample_loss`, from the objective's own random numbers, and x + eta is cut to [0, 1].

    The penalty depends on the head ``z = W h + b`` through the logits and once more through the backward pass
    ``W^T r``. So no residuals times features of the forward passes alone can be its gradient; but with
    ``v = J u``, the derivative of the features along the gradient u of the penalty at the input gradient, that second
    part is the outer product ``r (x) v``. `last_layer_gradients` takes these factors too (`HeadPasses.factors`): the
    selection sees the exact gradient of the whole loss, with R = 5 terms a sample. `loss`, which is given logits only,
    is the cross-entropy term, so `closed_form` is False.

    Args:
        eps: radius in pixels of [0, 1], >= 0.
        alpha: step size in the same units, by default eps.
        lam: weight of the penalty, >= 0. Above 0 a step costs about two passes more, differentiated twice.
        train_mode, label_smoothing, seed: as in `PGD`.

    Raises:
        ValueError: eps, alpha or lam < 0, eps > 1, or label_smoothing outside [0, 1].

    Source: Andriushchenko, Flammarion, "Understanding and Improving Fast Adversarial Training", NeurIPS 2020.
    """

    attack: PGDAttack

    def __init__(
        self,
        eps: float,
        alpha: float | None = None,
        lam: float = 0.2,
        *,
        train_mode: bool = False,
        label_smoothing: float = 0.0,
        seed: int | None = None,
    ) -> None:
        eps = check_number("eps", eps, low=0.0)
        step = eps if alpha is None else alpha
        attack = PGDAttack(eps, step, 1, "linf", random_start=False, train_mode=train_mode, seed=seed)
        super().__init__(attack, CrossEntropy(label_smoothing))
        self.lam = check_number("lam", lam, low=0.0)

    def per_sample_loss(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """[B] cross-entropies plus lam times the penalty, differentiable twice."""
        x, x_adv, y = as_tensors(model, x=x, x_adv=x_adv, y=y)
        losses = super().per_sample_loss(model, x, x_adv, y)
        if not self.lam:
            return losses
        noisy = self.attack.ball.random(x, self.attack.generator(x.device))
        inner = unwrapped(model)  # compiled code can be differentiated only once

        def loss(v: Tensor) -> Tensor:
            return summed_cross_entropy(logits_of(inner, v), y.long())

        slopes = (input_gradient(loss, v, differentiable=torch.is_grad_enabled()) for v in (x, noisy))
        return losses + self.lam * misalignment(*slopes)


def misalignment(a: Tensor, b: Tensor) -> Tensor:
    """[B] = 1 - cos(a, b) of gradients [B, ...], and 0 where one of them is zero."""
    a, b = a.flatten(1), b.flatten(1)
    zero = (a.detach() == 0).all(1) | (b.detach() == 0).all(1)
    cosine = (_unit(a, zero) * _unit(b, zero)).sum(1)
    return torch.where(zero, 0.0, 1.0 - cosine)


def _unit(rows: Tensor, zero: Tensor) -> Tensor:
    """Rows at length 1, and constants without a gradient where marked as zero."""
    rows = torch.where(zero[:, None], 1.0, rows)
    rows = rows / rows.detach().abs().amax(1, keepdim=True)  # so that no square underflows
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / norms
