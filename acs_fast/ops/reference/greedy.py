"""Reference: exact greedy facility location on distances from anywhere. The specification of `acs_fast::greedy`.

gain_j = sum_i max(cur_i - d_ij, 0) is kept for every candidate j. A pick lowers cur_i for some rows i, and only those
rows change any gain: their old contribution is taken off, the new one put on. Distances enter as 64-bit integers (one
power of two scales them all), so that the sums do not depend on the order of summation, nothing drifts, and every
backend sees the same ties, which go to the lowest index.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from acs_fast._util.dtypes import accumulable
from acs_fast.ops.reference.pairwise_distances import Centred
from acs_fast.ops.report import stage

ENTRIES_AT_ONCE = 1 << 23  # distances quantised together
MAX_BITS = 50  # of one quantised distance: float64 arithmetic on them stays exact


@dataclass(frozen=True)
class Distances:
    """A source of distances for the greedy: `rows(i)` is [M, N], `column(j)` [N]."""

    n: int
    rows: Callable[[Tensor], Tensor]
    column: Callable[[int], Tensor]
    device: torch.device

    @classmethod
    def of_matrix(cls, d: Tensor) -> Distances:
        d = d.detach()
        return cls(d.shape[0], lambda i: d[i], lambda j: d[:, j], d.device)

    @classmethod
    def of_gradients(cls, r: Tensor, h: Tensor, bias: bool, squared: bool) -> Distances:
        """Matrix-free: rows are computed when they are asked for, and nothing N x N is ever there."""
        factors = Centred.of(accumulable(r), accumulable(h), bias)
        everyone = torch.arange(len(r), device=r.device)

        def rows(i: Tensor) -> Tensor:
            return factors.distances(i, everyone, squared)

        return cls(len(r), rows, lambda j: rows(everyone[j : j + 1])[0], r.device)

    def chunks(self, index: Tensor) -> list[Tensor]:
        return list(index.split(max(1, ENTRIES_AT_ONCE // max(1, self.n))))


def scale_exponent(d_max: float, n: int) -> int:
    """The largest e with round(d * 2^e) of MAX_BITS bits for distances up to d_max, and sums of n below 2^62."""
    exponent = math.frexp(d_max)[1] if d_max > 0.0 else 0
    return min(min(MAX_BITS, 62 - (n - 1).bit_length()) - exponent, 1000)


def quantised(distances: Tensor, scale: float) -> Tensor:
    """Distances as integers in units of 1 / scale, half to even."""
    return torch.round(distances.to(torch.float64) * scale).to(torch.int64)


def greedy(distances: Tensor, budget: int) -> tuple[Tensor, Tensor, Tensor]:
    """Greedy facility location on a matrix: d[i, j] is what sample i pays when j serves it.

    Returns:
        indices [k] in pick order, gains [k] float64, assignment [N]: which pick serves each sample (the earliest of
        the nearest).
    """
    with stage("greedy"):
        return greedy_on(Distances.of_matrix(distances), budget)[:3]


def greedy_on(distances: Distances, budget: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n, device = distances.n, distances.device
    everyone = torch.arange(n, device=device)
    d_max = max((float(distances.rows(i).max()) for i in distances.chunks(everyone) if len(i)), default=0.0)
    exponent = scale_exponent(d_max, n)
    scale = 2.0**exponent

    def contributions(rows: Tensor, levels: list[Tensor]) -> list[Tensor]:
        """For each of `levels` [M]: sum_i max(level_i - q_ij, 0) over the rows, [N]."""
        sums = [torch.zeros(n, dtype=torch.int64, device=device) for _ in levels]
        for chunk, *level in zip(*(distances.chunks(x) for x in (rows, *levels)), strict=True):
            q = quantised(distances.rows(chunk), scale)
            for total, v in zip(sums, level, strict=True):
                total += (v[:, None] - q).clamp_(min=0).sum(0)
        return sums

    current = quantised(torch.tensor(d_max, dtype=torch.float64, device=device), scale).expand(n).clone()
    gain = contributions(everyone, [current])[0]
    assignment = torch.zeros(n, dtype=torch.int64, device=device)
    picks, gains = [], []
    for step in range(budget):
        pick = int(gain.argmax())  # the lowest index among equals; picked ones are below 0
        picks.append(pick)
        gains.append(int(gain[pick]))
        column = quantised(distances.column(pick), scale)
        touched = (column < current).nonzero().flatten()
        if len(touched):
            old, new = contributions(touched, [current[touched], column[touched]])
            gain += new - old
            current[touched] = column[touched]
            assignment[touched] = step
        gain[pick] = -1  # and it only falls from there
    unit = 2.0**-exponent
    return (
        torch.tensor(picks, dtype=torch.int64, device=device),
        torch.tensor(gains, dtype=torch.float64, device=device) * unit,
        assignment,
        current.sum().to(torch.float64) * unit,
    )
