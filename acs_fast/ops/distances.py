"""Reference: Euclidean distances between factored gradients. The specification of `acs_fast::pairwise_distances`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from acs_fast.ops.stages import stage

PAIRS_AT_ONCE = 1 << 16  # close pairs whose difference is formed together


def pairwise_distances(residuals: Tensor, features: Tensor, bias: bool, squared: bool) -> Tensor:
    """[N, N] distances of g_i = sum_a r_i^a (x) (h_i^a, [1]); [N, R, C] and [N, R, D] in, float32 or wider out."""
    with stage("distances", residuals.device):
        r, h = to_accumulable(residuals), to_accumulable(features)
        return distance_rows(r, h, r, h, torch.arange(len(r), device=r.device), bias, squared)


def distance_rows(
    r: Tensor, h: Tensor, all_r: Tensor, all_h: Tensor, rows: Tensor, bias: bool, squared: bool
) -> Tensor:
    """[M, N] distances from M samples, which are number `rows` [M] among all N, to all of them.

    The expansion n_i + n_j - 2 <g_i, g_j> loses all digits where two gradients nearly agree, so such pairs are
    measured again from the difference of their factors: identical samples are at distance exactly zero.
    """
    n, all_n = squared_norms(r, h, bias), squared_norms(all_r, all_h, bias)
    scale = n[:, None] + all_n[None]
    d = (scale - 2.0 * inner_products(r, h, all_r, all_h, bias)).clamp_(min=0.0)
    close = d <= close_threshold(d.dtype) * scale
    close[torch.arange(len(rows), device=rows.device), rows] = False
    for i, j in (pair.unbind(1) for pair in close.nonzero().split(PAIRS_AT_ONCE)):
        d[i, j] = squared_norm_of_difference(r[i], h[i], all_r[j], all_h[j], bias)
    d[torch.arange(len(rows), device=rows.device), rows] = 0.0
    return d if squared else d.sqrt_()


def close_threshold(dtype: torch.dtype) -> float:
    """Pairs with a squared distance below this part of n_i + n_j are measured from their difference."""
    return 3.0 * math.sqrt(torch.finfo(dtype).eps)


def inner_products(r: Tensor, h: Tensor, s: Tensor, k: Tensor, bias: bool) -> Tensor:
    """[M, N] = sum_{a, b} <r_i^a, s_j^b> (<h_i^a, k_j^b> + [bias])."""
    result = r.new_zeros(r.shape[0], s.shape[0])
    for a in range(r.shape[1]):
        for b in range(s.shape[1]):
            result += (r[:, a] @ s[:, b].T) * (h[:, a] @ k[:, b].T + float(bias))
    return result


def squared_norms(r: Tensor, h: Tensor, bias: bool) -> Tensor:
    """[N] squared norms."""
    return ((r @ r.mT) * (h @ h.mT + float(bias))).sum((1, 2))


def squared_norm_of_difference(r: Tensor, h: Tensor, s: Tensor, k: Tensor, bias: bool) -> Tensor:
    """[M] = ||g_i - g'_i||^2 with g - g' = (r - s) (x) h + s (x) (h - k): exact zero for equal factors."""
    left = torch.cat([r - s, s], 1)  # [M, 2R, C]
    right = torch.cat([h, h - k], 1)  # [M, 2R, D]
    ones = torch.cat([h.new_ones(r.shape[1]), h.new_zeros(r.shape[1])]) * float(bias)
    inner = right @ right.mT + ones[:, None] * ones[None]
    return ((left @ left.mT) * inner).sum((1, 2)).clamp_(min=0.0)


def to_accumulable(x: Tensor) -> Tensor:
    """Half precision is accumulated in float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
