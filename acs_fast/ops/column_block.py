"""Distances of one process's share of a matrix, and greedy's gains of them.

Of the compiled module alone: elsewhere one process solves a problem whole. Entries equal those of `pairwise_distances`
on the CPU bit for bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acs_fast._util.dtypes import accumulable, accumulable_dtype
from acs_fast.ops import compiled

ENTRIES_AT_ONCE = 1 << 22  # that `lower_entries` has room for


class ColumnBlock:
    """Some of N samples as columns.

    Args:
        residuals, features: [n, R, C] and [n, R, D].
        numbers: [n] int64, of the samples among all N; they decide which of a pair comes first.
        means: [R, C + D] float64 of the factors of all N samples, rounded to their dtype; see `factor_means`.
    """

    def __init__(
        self, residuals: Tensor, features: Tensor, numbers: Tensor, means: Tensor, bias: bool, squared: bool
    ) -> None:
        self._kept = _prepared(residuals, features, numbers)  # the module points to them
        r, h, numbers = self._kept
        kind = compiled.of_dtype("ColumnBlock", r.dtype)
        addresses = (x.data_ptr() for x in self._kept)
        means = means.contiguous()
        self._block = kind(*addresses, *r.shape, h.shape[-1], bias, means.data_ptr(), squared, torch.get_num_threads())
        self.tile_size: int = self._block.tile_size()

    def pairs(self, out: Tensor, block: int, rank: int, ranks: int) -> float:
        """Of these samples cut into blocks, the pairs (a, b) of blocks with (a + b) mod W = rank; returns the largest.

        Args:
            out: [n, m], rows contiguous: a sample of block a gets its distances to its blocks b, one after the other.
            block: a multiple of 64 and at most `tile_size`, or that.
        """
        largest = self._block.pairs(out.data_ptr(), out.stride(0), block, rank, ranks, torch.get_num_threads())
        return float(largest)

    def rows(self, residuals: Tensor, features: Tensor, numbers: Tensor) -> Tensor:
        """[M, n] distances of M samples to all columns.

        Args:
            residuals, features: [M, R, C] and [M, R, D].
            numbers: [M] of the samples among all N.
        """
        kept = _prepared(residuals, features, numbers)
        out = kept[0].new_empty(len(numbers), len(self._kept[2]))
        if out.numel():
            addresses = (x.data_ptr() for x in kept)
            self._block.rows(*addresses, len(numbers), out.data_ptr(), torch.get_num_threads())
        return out


def add_factors(sums: Tensor, residuals: Tensor, features: Tensor) -> Tensor:
    """[R, C + D] float64: `sums` with every sample's factors added one after the other.

    One chain of additions, so that ranks that hand their sums on arrive at what one process has.
    """
    r, h = accumulable(residuals).contiguous(), accumulable(features).contiguous()
    sums = sums.clone()
    compiled.of_dtype("add_factors", r.dtype)(r.data_ptr(), h.data_ptr(), *r.shape, h.shape[-1], sums.data_ptr())
    return sums


def factor_means(sums: Tensor, n: int, dtype: torch.dtype) -> Tensor:
    """The means as the distances take them: rounded to the dtype in which these are computed."""
    return (sums / n).to(accumulable_dtype(dtype)).to(torch.float64)


def empty_matrix(rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    """[rows, columns], on huge pages where the system has them: far fewer page faults."""
    out = torch.empty(rows, columns, dtype=dtype)
    compiled.MODULE.prefer_huge_pages(out.data_ptr(), out.nbytes)
    return out


def lower_gains(gains: Tensor, distances: Tensor, index: Tensor, low: Tensor, high: Tensor, scale: float) -> None:
    """Take off every candidate's gain what it loses when some samples pay less, in place.

    ::

        gains[j] += sum_t clamp(distances[index[t], j], low[t], high[t]) - high[t]     in units of 1 / scale

    Args:
        gains: [n] int64.
        distances: [M, m] with m >= n, rows contiguous.
        index: [T] int64, rows of `distances`.
        low, high: [T] in the dtype of `distances`: what the samples pay now, and what they paid before.
        scale: a power of two; see `scale_exponent`.
    """
    index, low, high = index.contiguous(), low.contiguous(), high.contiguous()
    run = compiled.of_dtype("lower_gains", distances.dtype)
    run(gains.data_ptr(), len(gains), distances.data_ptr(), distances.stride(0), index.data_ptr(), len(index),
        low.data_ptr(), high.data_ptr(), scale, torch.get_num_threads())  # fmt: skip


def lower_entries(distances: Tensor, index: Tensor, level: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """The entries of some rows that are below the level of their column, as integers in units of 1 / scale.

    Args:
        distances, index, scale: as in `lower_gains`.
        level: [n] in the dtype of `distances`.

    Returns:
        [E] int64 positions in `index`, [E] int64 columns, [E] entries; by row, then by column.
    """
    run, width, level = compiled.of_dtype("lower_entries", distances.dtype), len(level), level.contiguous()
    parts = [(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), level[:0])]
    at_once = max(1, ENTRIES_AT_ONCE // max(1, width))
    for first in range(0, len(index), at_once):
        some = index[first : first + at_once].contiguous()
        row, column = torch.empty(2, len(some) * width, dtype=torch.int64)
        entry = level.new_empty(len(some) * width)
        found = run(distances.data_ptr(), distances.stride(0), some.data_ptr(), len(some), level.data_ptr(), width,
                    scale, row.data_ptr(), column.data_ptr(), entry.data_ptr())  # fmt: skip
        parts.append((row[:found] + first, column[:found].clone(), entry[:found].clone()))
    row, column, entry = (torch.cat(x) for x in zip(*parts, strict=True))
    return row, column, entry


def _prepared(residuals: Tensor, features: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return accumulable(residuals).contiguous(), accumulable(features).contiguous(), numbers.contiguous()
