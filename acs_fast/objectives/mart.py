"""MART: misclassified samples are defended harder than those that the model already gets right."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from acs_fast._util.checks import check_number
from acs_fast.objectives.base import cross_entropy_residual, widened
from acs_fast.objectives.standard import PGD
from acs_fast.objectives.trades import divergence


class MART(PGD):
    r"""Boosted cross-entropy at the adversarial example, and a divergence weighted by how wrong the clean one is.

    .. math:: \ell = -\log q_y - \log\big(1 - \max_{k \ne y} q_k\big) + \beta\, (1 - p_y)\, KL(p \| q)

    with p and q the clean and adversarial probabilities. The attack is that of `PGD`. Let s be the softmax over all
    classes but the runner-up ``argmax_{k != y} q_k``, which has probability 0 in s. The residuals are
    ``beta ((1 - p_y) p (log p - log q - KL) - KL p_y (onehot(y) - p))`` (clean) and
    ``(q - onehot(y)) + (q - s) + beta (1 - p_y) (q - p)`` (adversarial).

    Args:
        beta: weight of the divergence, >= 0.
        eps, alpha, steps, norm, random_start, train_mode, seed: as in `PGD`.

    Raises:
        ValueError: beta, eps or alpha < 0, eps > 1 for linf, steps < 1, unknown norm; from the loss, logits of fewer
            than two classes.

    Source: Wang et al., "Improving Adversarial Robustness Requires Revisiting Misclassified Examples", ICLR 2020.
    """

    def __init__(
        self,
        beta: float,
        eps: float,
        alpha: float,
        steps: int,
        norm: str = "linf",
        *,
        random_start: bool = True,
        train_mode: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__(eps, alpha, steps, norm, random_start=random_start, train_mode=train_mode, seed=seed)
        self.beta = check_number("beta", beta, low=0.0)

    def views(self, x: Tensor, x_adv: Tensor) -> tuple[Tensor, ...]:
        return x, x_adv

    def loss_from_logits(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        log_p, log_q = (z.log_softmax(-1) for z in logits)
        others = log_q.masked_fill(_one(runner_up(log_q, y), log_q), -torch.inf).logsumexp(-1)
        wrong = 1.0 - log_p.exp().gather(1, y[:, None])[:, 0]
        return F.nll_loss(log_q, y, reduction="none") - others + self.beta * wrong * divergence(log_p, log_q)

    def residuals(self, logits: tuple[Tensor, ...], y: Tensor) -> Tensor:
        log_p, log_q = (widened(z).log_softmax(-1) for z in logits)
        p, q = log_p.exp(), log_q.exp()
        s = log_q.masked_fill(_one(runner_up(log_q, y), log_q), -torch.inf).softmax(-1)
        kl, p_y = divergence(log_p, log_q)[:, None], p.gather(1, y[:, None])
        clean = (1.0 - p_y) * p * (log_p - log_q - kl) + kl * p_y * cross_entropy_residual(logits[0], y)
        adversarial = cross_entropy_residual(logits[1], y) + (q - s) + self.beta * (1.0 - p_y) * (q - p)
        return torch.stack([self.beta * clean, adversarial], 1)


def runner_up(scores: Tensor, y: Tensor) -> Tensor:
    """[B] the class of the highest score [B, C] other than y. Raises ValueError where there is only one class."""
    if scores.shape[1] < 2:
        raise ValueError(f"logits must have at least two classes for a margin; got {scores.shape[1]}")
    return scores.detach().masked_fill(_one(y, scores), -torch.inf).argmax(1)


def _one(classes: Tensor, like: Tensor) -> Tensor:
    """[B, C] bool: one class a row."""
    return torch.zeros_like(like, dtype=torch.bool).scatter(1, classes[:, None], True)
