"""Cross-entropy objectives: no attack, FGSM, PGD, and any attack that comes from elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acs_fast._util.checks import check_count, check_labels, check_number
from acs_fast._util.randomness import preserved_random_state
from acs_fast.objectives.ascent import ascend
from acs_fast.objectives.balls import ball
from acs_fast.objectives.base import CrossEntropy, Objective, widened
from acs_fast.objectives.model_state import logits_of, untouched

Attack = Callable[[Tensor, Tensor], Tensor]


class Vanilla(CrossEntropy):
    """Training without an attack: cross-entropy at the sample itself.

    Example:
        >>> model, x, y = torch.nn.Linear(4, 3), torch.rand(2, 4), torch.tensor([0, 2])
        >>> bool((Vanilla().perturb(model, x, y) == x).all())
        True
    """

    def perturb(self, model: nn.Module, x: Tensor, y: Tensor, *, index: Tensor | None = None) -> Tensor:
        """x itself; any range is fine, since there is no eps to measure."""
        return x


class PGD(CrossEntropy):
    r"""Adversarial training with projected gradient ascent.

    .. math:: x^{t+1} = \Pi_{B(x, \epsilon) \cap [0, 1]}\big(x^t + \alpha\, d(\nabla_x \ell)\big)

    with d the sign for l-infinity and the normalised gradient for l2.

    Args:
        eps: radius in pixels of [0, 1], >= 0.
        alpha: step size in the same units, >= 0.
        steps: number of steps, >= 1.
        norm: "linf" or "l2".
        random_start: begin at a random point of the ball (else at x).
        train_mode: attack with the model in train mode (its statistics are put back); default is eval mode.
        seed: of the random starts; by default torch's initial seed.

    Raises:
        ValueError: eps or alpha < 0, eps > 1 for linf, steps < 1, unknown norm.

    Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018.
    """

    takes_start = True

    def __init__(
        self,
        eps: float,
        alpha: float,
        steps: int,
        norm: str = "linf",
        *,
        random_start: bool = True,
        train_mode: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        self._ball = ball(norm, eps)
        self.eps, self.norm = self._ball.eps, norm
        self.alpha = check_number("alpha", alpha, low=0.0)
        self.steps = check_count("steps", steps, low=1)
        self.random_start = random_start
        self.train_mode = train_mode

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        start = self._ball.random(x, self.generator(x.device)) if self.random_start else x
        start = self._ball.project(self.begun(x, start), x) if self._delta is not None else start
        with untouched(model, self.train_mode):
            return ascend(
                lambda v: summed_cross_entropy(logits_of(model, v), y),
                x, start, self._ball, self.alpha, self.steps,
            )  # fmt: skip


def summed_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy [] summed over the batch, in float32 or wider. Raises ValueError for labels outside the logits."""
    if y.device.type == "cpu":  # elsewhere the check would wait for the device
        check_labels(y, logits.shape[1], len(logits))
    return F.cross_entropy(widened(logits), y, reduction="sum")


class FGSM(PGD):
    r"""Fast adversarial training: one step from a random start in the l-infinity ball.

    Args:
        eps: radius in pixels of [0, 1], >= 0.
        alpha: step size, by default 1.25 eps.
        train_mode, seed: as in `PGD`.

    Raises:
        ValueError: eps or alpha < 0, or eps > 1.

    Source: Wong, Rice, Kolter, "Fast is better than free: Revisiting adversarial training", ICLR 2020.
    """

    def __init__(
        self, eps: float, alpha: float | None = None, *, train_mode: bool = False, seed: int | None = None
    ) -> None:
        eps = check_number("eps", eps, low=0.0)
        super().__init__(eps, 1.25 * eps if alpha is None else alpha, 1, train_mode=train_mode, seed=seed)


class WithAttack(Objective):
    """Another objective's loss with an attack that comes from elsewhere.

    Args:
        attack: callable (x, y) -> x_adv, the form of torchattacks. It runs with the model's state and the global
            random state preserved; its random numbers come from this objective's own generator.
        objective: whose views, loss and residuals to use; by default cross-entropy at the adversarial example.
        seed: of the attack's random numbers; by default torch's initial seed.

    Raises:
        TypeError: the attack is not callable.
        ValueError: from `perturb`, when the attack's result has another shape than x or leaves [0, 1].
    """

    def __init__(self, attack: Attack, objective: Objective | None = None, *, seed: int | None = None) -> None:
        super().__init__(seed)
        if not callable(attack):
            raise TypeError(f"attack must be callable as attack(x, y); got {type(attack).__name__}")
        self._attack = attack
        self.objective = CrossEntropy() if objective is None else objective

    def attack(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        seed = int(torch.randint(1 << 62, (), generator=self.generator(torch.device("cpu"))))
        with untouched(model, keep_buffers=True), preserved_random_state(), torch.enable_grad():
            torch.manual_seed(seed)
            x_adv = self._attack(x, y)
        if not isinstance(x_adv, Tensor) or x_adv.shape != x.shape:
            got = list(x_adv.shape) if isinstance(x_adv, Tensor) else type(x_adv).__name__
            raise ValueError(f"attack must return images of shape {list(x.shape)}; got {got}")
        if not bool(((x_adv >= 0) & (x_adv <= 1)).all()):
            raise ValueError("attack must return pixels in [0, 1]; set it up for unnormalised inputs")
        return x_adv.detach()

    def views(self, x: Tensor, x_adv: Tensor) -> tuple[Tensor, ...]:
        return self.objective.views(x, x_adv)

    def loss_from_logits(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        return self.objective.loss_from_logits(logits, y)

    def per_sample_loss(self, model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        return self.objective.per_sample_loss(model, x, x_adv, y)

    def residuals(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        return self.objective.selection_residuals(logits, y)

    @property
    def has_own_loss(self) -> bool:
        return self.objective.has_own_loss
