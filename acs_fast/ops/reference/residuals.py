"""Reference of `acs_fast::cross_entropy_residuals` and `acs_fast::trades_residuals`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from acs_fast._util.dtypes import accumulable


def cross_entropy_residuals(logits: Tensor, labels: Tensor) -> Tensor:
    """softmax(logits) - onehot(labels) [B, C]; half precision becomes float32."""
    return accumulable(logits).softmax(-1) - F.one_hot(labels, logits.shape[-1])


def trades_residuals(clean: Tensor, adversarial: Tensor, labels: Tensor, beta: float) -> Tensor:
    """Residuals [B, 2, C] of CE(clean, y) + beta KL(p || q), p and q the softmax of the logits [B, C]."""
    log_p, log_q = (accumulable(x).log_softmax(-1) for x in (clean, adversarial))
    p, q, ratio = log_p.exp(), log_q.exp(), log_p - log_q
    surplus = ratio - (p * ratio).sum(-1, keepdim=True)
    first = cross_entropy_residuals(clean, labels) + beta * p * surplus
    return torch.stack([first, beta * (q - p)], 1)
