"""Gradients of the loss at the logits, as operators: the torch dispatcher takes the kernels of the logits' device."""

from __future__ import annotations

import torch
from torch import Tensor

from acs_fast.ops import schemas  # noqa: F401  defines the operators


def cross_entropy_residuals(logits: Tensor, labels: Tensor) -> Tensor:
    """Residuals of the cross-entropy, softmax(z) - onehot(y).

    Args:
        logits: [B, C], any floating dtype.
        labels: [B] int64 in [0, C).

    Returns:
        [B, C], float32 or wider; constants for autograd.

    Example:
        >>> cross_entropy_residuals(torch.zeros(1, 2), torch.tensor([1]))
        tensor([[ 0.5000, -0.5000]])
    """
    found: Tensor = torch.ops.acs_fast.cross_entropy_residuals(logits.detach(), labels)
    return found


def trades_residuals(clean: Tensor, adversarial: Tensor, labels: Tensor, beta: float) -> Tensor:
    r"""Residuals of CE(clean, y) + beta KL(p || q) at both logits.

    .. math:: r^1 = p - y + \beta\, p\, (\log p - \log q - KL(p \| q)), \qquad r^2 = \beta\, (q - p)

    Args:
        clean, adversarial: [B, C], any floating dtype; p and q are their softmax.
        labels: [B] int64 in [0, C).

    Returns:
        [B, 2, C], float32 or wider; constants for autograd.
    """
    found: Tensor = torch.ops.acs_fast.trades_residuals(clean.detach(), adversarial.detach(), labels, beta)
    return found
