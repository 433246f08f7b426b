"""Reference: Euclidean distances between factored gradients. The specification of `acs_fast::pairwise_distances`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from acs_fast._util.dtypes import accumulable
from acs_fast.ops.report import stage

LOST = 256.0  # roundings of the terms of a squared distance that leave it some digits
PAIRS_AT_ONCE = 1 << 16  # close pairs whose difference is formed together
ENTRIES_AT_ONCE = 1 << 22  # distances computed together: bounds the temporaries


def pairwise_distances(residuals: Tensor, features: Tensor, bias: bool, squared: bool) -> Tensor:
    """[N, N] distances of g_i = sum_a r_i^a (x) (h_i^a, [1]); [N, R, C] and [N, R, D] in, float32 or wider out."""
    with stage("distances"):
        factors = Centred.of(accumulable(residuals), accumulable(features), bias)
        n = len(residuals)
        d = factors.r.new_empty(n, n)
        step = max(1, ENTRIES_AT_ONCE // max(1, n))
        for a in range(0, n, step):
            b = min(n, a + step)
            everyone = torch.arange(a, n, device=d.device)
            block = factors.distances(everyone[: b - a], everyone, squared)
            upper = block[:, : b - a].triu(1)
            d[a:b, a:b] = upper + upper.T
            d[a:b, b:] = block[:, b - a :]
            d[b:, a:b] = block[:, b - a :].T
    return d


@dataclass(frozen=True)
class Centred:
    """Factors as deviations from their means: r = m + q and h = k + p in every pass.

    All gradients are moved by the same sum_a m^a (x) k^a, which changes no distance. The expansion
    n_i + n_j - 2 <g_i, g_j> then loses digits only where two gradients agree to within their spread, and no longer
    wherever a class has gradients that all point the same way.

    q: [N, R, C], p: [N, R, D]; v[i, a, b] = <q_i^a, m^b>, u[i, a, b] = <p_i^a, k^b>, both [N, R, R];
    mm, kk: [R, R] inner products of the means (kk with the bias); norms: [N] squared norms; limits: [N], squared
    distances up to the sum of two of them have lost their digits.
    """

    r: Tensor
    h: Tensor
    bias: bool
    q: Tensor
    p: Tensor
    u: Tensor
    v: Tensor
    mm: Tensor
    kk: Tensor
    norms: Tensor
    limits: Tensor

    @classmethod
    def of(cls, r: Tensor, h: Tensor, bias: bool, means: Tensor | None = None) -> Centred:
        """Centre the factors on their own means, or on `means` [R, C + D] of more samples."""
        m, k = (r.mean(0), h.mean(0)) if means is None else means.split([r.shape[-1], h.shape[-1]], -1)
        q, p = r - m, h - k
        u, v, mm, kk = p @ k.T, q @ m.T, m @ m.T, k @ k.T + float(bias)
        qq, pp = q @ q.mT, p @ p.mT
        norms = ((qq + v + v.mT + mm) * pp + qq * (u + u.mT + kk) + 2.0 * v * u.mT).sum((1, 2))
        whole = (q.norm(dim=2) + m.norm(dim=1)) * (p.norm(dim=2) + kk.diagonal().sqrt())  # of terms that may cancel
        limits = torch.maximum(
            close_threshold(q.dtype) * norms, LOST * torch.finfo(q.dtype).eps * whole.sum(1).square()
        )
        return cls(r, h, bias, q, p, u, v, mm, kk, norms, limits)

    def take(self, i: Tensor) -> Centred:
        """Some of the samples, centred as all are."""
        q, p, u, v = (x[i] for x in (self.q, self.p, self.u, self.v))
        norms, limits = self.norms[i], self.limits[i]
        return Centred(self.r[i], self.h[i], self.bias, q, p, u, v, self.mm, self.kk, norms, limits)

    def inner_products(self, other: Centred) -> Tensor:
        """[I, J] inner products of the moved gradients."""
        result = self.q.new_zeros(len(self.q), len(other.q))
        for a in range(self.q.shape[1]):
            for b in range(self.q.shape[1]):
                qq, pp = self.q[:, a] @ other.q[:, b].T, self.p[:, a] @ other.p[:, b].T
                u, v = self.u[:, a, b][:, None], self.v[:, a, b][:, None]
                u_, v_ = other.u[:, b, a][None], other.v[:, b, a][None]
                result += (qq + v + v_ + self.mm[a, b]) * pp + qq * (u + u_ + self.kk[a, b]) + v * u_ + v_ * u
        return result

    def distances(self, i: Tensor, j: Tensor, squared: bool) -> Tensor:
        """[I, J] distances between samples i and j (numbers among all N)."""
        return self.take(i).distances_to(self.take(j), squared)

    def distances_to(self, other: Centred, squared: bool) -> Tensor:
        """[I, J] distances to samples centred alike.

        Pairs that are close for their norms, or for terms that cancel in these, are measured again from the difference
        of their factors, so that identical samples are at distance exactly zero.
        """
        scale = self.norms[:, None] + other.norms[None]
        d = (scale - 2.0 * self.inner_products(other)).clamp_(min=0.0)
        close = (d <= self.limits[:, None] + other.limits[None]).nonzero()
        for s, t in (pair.unbind(1) for pair in close.split(PAIRS_AT_ONCE)):
            d[s, t] = squared_norm_of_difference(self.r[s], self.h[s], other.r[t], other.h[t], self.bias)
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
    """[M] = ||g_i - g'_i||^2 with g - g' = (r - s) (x) h + s (x) (h - k), in float64: exact zero for equal factors."""
    dtype = r.dtype
    r, h, s, k = (x.double() for x in (r, h, s, k))
    left = torch.cat([r - s, s], 1)  # [M, 2R, C]
    right = torch.cat([h, h - k], 1)  # [M, 2R, D]
    ones = torch.cat([h.new_ones(r.shape[1]), h.new_zeros(r.shape[1])]) * float(bias)
    inner = right @ right.mT + ones[:, None] * ones[None]
    return ((left @ left.mT) * inner).sum((1, 2)).clamp_(min=0.0).to(dtype)
