r"""Reference: gradients of the loss at the logits. The specification of `acs_fast::cross_entropy_residuals` and
`acs_fast::trades_residuals`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from acs_fast.ops.distances import to_accumulable


def cross_entropy_residuals(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """softmax(logits) - onehot(labels) in the dtype of the logits [B, C], and its squared norms [B]."""
    r = to_accumulable(logits).softmax(1) - F.one_hot(labels, logits.shape[1])
    return r.to(logits.dtype), r.square().sum(1)


def trades_residuals(clean: Tensor, adversarial: Tensor, labels: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    r"""Residuals [B, 2, C] of CE(clean, y) + beta KL(p || q), p and q the softmax of the logits [B, C]; norms [B, 2].

    .. math:: r^1 = p - y + \beta\, p\, (\log (p / q) - KL(p \| q)), \qquad r^2 = \beta\, (q - p)
    """
    log_p, log_q = (to_accumulable(x).log_softmax(1) for x in (clean, adversarial))
    p, ratio = log_p.exp(), log_p - log_q
    kl = (p * ratio).sum(1, keepdim=True)
    first = p - F.one_hot(labels, clean.shape[1]) + beta * p * (ratio - kl)
    r = torch.stack([first, beta * (log_q.exp() - p)], 1)
    return r.to(clean.dtype), r.square().sum(2)
