"""Gradient matching of one problem by several processes: correlations in shares, the refit in each of them."""

from __future__ import annotations

import torch
from torch import Tensor

from acs_fast._util.dtypes import accumulable
from acs_fast._util.exchange import Exchange
from acs_fast.ops import compiled


def match_part(
    residuals: Tensor, features: Tensor, bias: bool, own: slice, target: Tensor, budget: int, ridge: float,
    exchange: Exchange,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The picks of `acs_fast.ops.reference.gradient_matching` on all samples, by the compiled module.

    Args:
        residuals, features: [N, R, C] and [N, R, D], on every rank.
        own: the samples whose correlations are taken here; the ranks' are side by side.
        target: [C, D (+1)] float64.

    Returns:
        indices, weights float64 and gains float64 of at most `budget` picks, the same on every rank.
    """
    r, h = accumulable(residuals).contiguous(), accumulable(features).contiguous()
    indices = torch.full((budget,), -1, dtype=torch.int64)
    weights, gains = torch.zeros(budget, dtype=torch.float64), torch.zeros(budget, dtype=torch.float64)
    target = target.to(torch.float64).contiguous()

    def largest(mine: float) -> float:
        return float(exchange.maximum(torch.tensor(mine, dtype=torch.float64)))

    def best(sample: int, correlation: float, to_target: float) -> tuple[int, float, float]:
        mine = torch.tensor([sample, correlation, to_target], dtype=torch.float64)  # numbers below 2^53 stay exact
        every = [x for x in exchange.gather(mine).tolist() if x[0] >= 0]
        if not every:
            return -1, 0.0, 0.0
        found = min(every, key=lambda x: (-x[1], x[0]))
        return int(found[0]), found[1], found[2]

    count = compiled.of_dtype("match_part", r.dtype)(
        r.data_ptr(), h.data_ptr(), *r.shape, h.shape[-1], bias, target.data_ptr(), budget, ridge, own.start, own.stop,
        largest, best, indices.data_ptr(), weights.data_ptr(), gains.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return indices[:count], weights[:count], gains[:count]
