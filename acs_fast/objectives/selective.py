"""Attacks of two strengths in one batch: the coreset's samples get the strong one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def perturb_allocated(
    model: nn.Module, x: Tensor, y: Tensor, strong: Tensor, objective: Any, cheap: Any, **options: Any
) -> Tensor:
    """Adversarial examples of a batch, by `objective` where `strong` says so and by `cheap` elsewhere.

    Args:
        model, x, y: see `Objective.perturb`; x [B, ...].
        strong: [B] bool, as `AdversarialCoreset.strong` returns it.
        objective, cheap: whose `perturb` to use, such as PGD with many steps and with one. The loss should be the same
            objective's for the whole batch; `FGSMPGI`, whose loss is about the batch that its own `perturb` saw last,
            does not go with this.
        options: for both `perturb`; tensors of length B ([B] sample numbers as `index`) are split like x.

    Raises:
        ValueError: strong is no [B] tensor of booleans.

    Example:
        >>> model, x, y = nn.Linear(4, 2), torch.rand(3, 4), torch.tensor([0, 1, 0])
        >>> from acs_fast.objectives import PGD, FGSM
        >>> perturb_allocated(model, x, y, torch.tensor([True, False, True]), PGD(0.1, 0.02, 9), FGSM(0.1)).shape
        torch.Size([3, 4])
    """
    if strong.dtype != torch.bool or strong.shape != (len(x),):
        raise ValueError(f"strong must be bool of shape [{len(x)}]; got {strong.dtype} of shape {list(strong.shape)}")
    for own, alone in ((objective, strong.all()), (cheap, ~strong.any())):
        if bool(alone):
            return own.perturb(model, x, y, **options)  # type: ignore[no-any-return]
    x_adv = torch.empty_like(x)
    for mask, own in ((strong, objective), (~strong, cheap)):
        if bool(mask.any()):
            part = {k: v[mask.to(v.device)] if _is_batch(v, len(x)) else v for k, v in options.items()}
            x_adv[mask.to(x.device)] = own.perturb(model, x[mask.to(x.device)], y[mask.to(y.device)], **part)
    return x_adv


def _is_batch(value: Any, size: int) -> bool:
    return isinstance(value, Tensor) and value.shape[:1] == (size,)
