"""The weighted mean of a batch's losses."""

from __future__ import annotations

import torch
from torch import Tensor

from acs_fast._util.checks import as_tensor, check_choice, check_floating, check_number


def weighted_mean(
    losses: Tensor, weights: Tensor, *, normalize: str = "none", denominator: float | Tensor | None = None
) -> Tensor:
    r"""The loss of a mini-batch of weighted samples.

    .. math:: \frac{1}{B} \sum_i w_i \ell_i \qquad\text{or, with normalize="batch",}\qquad
        \frac{\sum_i w_i \ell_i}{\sum_i w_i}

    The first is an unbiased estimate of the weighted objective when the weights average to 1 over the coreset, as
    `AdversarialCoreset.weights` returns them. The second is the published rule; weights that are equal within a batch
    (batch granularity) cancel in it.

    Args:
        losses: [B] per-sample losses.
        weights: [B]; moved to the losses' device and dtype.
        normalize: "none" (divide by B) or "batch" (divide by the sum of the weights).
        denominator: divide by this instead. With gradient accumulation give the number of samples (or with
            normalize="batch" the sum of weights) of all micro-batches together and do not scale again; under
            DistributedDataParallel, which averages gradients over R ranks, give the sum over all ranks divided by R.

    Raises:
        ValueError: shapes differ, the batch is empty, or unknown normalize.
        TypeError: losses are no floating numbers of 16 bits or more.

    Example:
        >>> weighted_mean(torch.tensor([1.0, 3.0]), torch.tensor([1.5, 0.5]))
        tensor(1.5000)
    """
    check_choice("normalize", normalize, ("none", "batch"))
    losses = check_floating("losses", losses)
    weights = as_tensor("weights", weights, losses)
    if losses.dim() != 1 or losses.shape != weights.shape or not len(losses):
        raise ValueError(
            f"losses and weights must both have shape [B] with B >= 1; got {list(losses.shape)} and "
            f"{list(weights.shape)}"
        )
    weights = weights.to(losses)
    if denominator is None:
        denominator = weights.sum().clamp_min(torch.finfo(weights.dtype).tiny) if normalize == "batch" else len(losses)
    elif not isinstance(denominator, Tensor):
        check_number("denominator", denominator)
    return (weights * losses).sum() / denominator
