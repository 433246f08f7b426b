"""A block of columns of a distance matrix that no process holds whole, and greedy's gains of that block.

Compiled where the CPU module is there, else by the reference; entries equal those of `pairwise_distances` on the same
backend, bit for bit where it is compiled.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from acs_fast._util.dtypes import accumulable, accumulable_dtype
from acs_fast.ops import compiled
from acs_fast.ops.reference.greedy import ENTRIES_AT_ONCE
from acs_fast.ops.reference.pairwise_distances import Centred


class ColumnBlock(Protocol):
    """Some of N samples as columns."""

    def square(self, out: Tensor, part: int = 0, parts: int = 1) -> float:
        """One of several equal parts of the distances among these samples; returns the largest.

        Args:
            out: [n, n], contiguous, in which they have their places.
        """

    def fill(
        self, residuals: Tensor, features: Tensor, numbers: Tensor, begin: int, out: Tensor, mirror: Tensor | None
    ) -> float:
        """Distances of M samples to the columns from `begin` on; returns the largest.

        Args:
            residuals, features: [M, R, C] and [M, R, D].
            numbers: [M] of the samples among all N.
            begin: a multiple of 64.
            out: [M, n - begin], rows contiguous.
            mirror: [n - begin, M], contiguous: the same transposed.
        """

    def rows(self, residuals: Tensor, features: Tensor, numbers: Tensor) -> Tensor:
        """[M, n] distances of M samples to all columns."""


def column_block(
    residuals: Tensor, features: Tensor, numbers: Tensor, means: Tensor, bias: bool, squared: bool, backend: str
) -> ColumnBlock:
    """The columns of n samples.

    Args:
        residuals, features: [n, R, C] and [n, R, D].
        numbers: [n] int64, of the samples among all N; they decide which of a pair comes first.
        means: [R, C + D] float64 of the factors of all N samples, rounded to their dtype; see `factor_means`.
        backend: "cpu" or "reference".
    """
    kind = _Compiled if backend == "cpu" else _Reference
    return kind(accumulable(residuals), accumulable(features), numbers, means, bias, squared)


def add_factors(sums: Tensor, residuals: Tensor, features: Tensor, rows_at_once: int = 1 << 10) -> Tensor:
    """[R, C + D] float64: `sums` with every sample's factors added one after the other.

    One chain of additions, so that ranks that hand their sums on arrive at what one process has.
    """
    if compiled.MODULE is not None and residuals.device.type == "cpu":
        r, h = accumulable(residuals).contiguous(), accumulable(features).contiguous()
        sums = sums.clone()
        run = _of_dtype("add_factors", r.dtype)
        run(r.data_ptr(), h.data_ptr(), *r.shape, h.shape[-1], sums.data_ptr())
        return sums
    for rows in torch.arange(len(residuals), device=residuals.device).split(rows_at_once):
        chunk = torch.cat([residuals[rows], features[rows]], -1).to(torch.float64)
        sums = torch.cat([sums[None], chunk]).cumsum(0)[-1]
    return sums


def factor_means(sums: Tensor, n: int, dtype: torch.dtype) -> Tensor:
    """The means as the distances take them: rounded to the dtype in which these are computed."""
    return (sums / n).to(accumulable_dtype(dtype)).to(torch.float64)


def empty_matrix(rows: int, columns: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[rows, columns], on huge pages where the compiled module can ask for them: far fewer page faults."""
    out = torch.empty(rows, columns, dtype=dtype, device=device)
    if compiled.MODULE is not None and device.type == "cpu":
        compiled.MODULE.prefer_huge_pages(out.data_ptr(), out.nbytes)
    return out


def lower_gains(gains: Tensor, distances: Tensor, index: Tensor, low: Tensor, high: Tensor, scale: float) -> None:
    """Take off every candidate's gain what it loses when some samples pay less, in place.

    ::

        gains[j] += sum_t clamp(distances[index[t], j], low[t], high[t]) - high[t]     in units of 1 / scale

    Args:
        gains: [n] int64.
        distances: [M, n], rows contiguous.
        index: [T] int64, rows of `distances`.
        low, high: [T] in the dtype of `distances`: what the samples pay now, and what they paid before.
        scale: a power of two; see `scale_exponent`.
    """
    if compiled.MODULE is not None and gains.device.type == "cpu":
        run = _of_dtype("lower_gains", distances.dtype)
        run(gains.data_ptr(), len(gains), distances.data_ptr(), distances.stride(0), index.data_ptr(), len(index),
            low.data_ptr(), high.data_ptr(), scale, torch.get_num_threads())  # fmt: skip
        return
    for t in torch.arange(len(index), device=index.device).split(max(1, ENTRIES_AT_ONCE // max(1, len(gains)))):
        clamped = distances[index[t]].clamp(low[t, None], high[t, None])
        gains += (quantised(clamped, scale) - quantised(high[t, None], scale)).sum(0)


def lower_entries(distances: Tensor, index: Tensor, level: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """The entries of some rows that are below the level of their column, as integers in units of 1 / scale.

    Args:
        distances, index, scale: as in `lower_gains`.
        level: [n] in the dtype of `distances`.

    Returns:
        [E] int64 positions in `index`, [E] int64 columns, [E] entries; by row, then by column.
    """
    if compiled.MODULE is None or level.device.type != "cpu":
        prices = distances[index]
        row, column = (quantised(prices, scale) < quantised(level, scale)).nonzero().unbind(1)
        return row, column, prices[row, column]
    run, width = _of_dtype("lower_entries", distances.dtype), len(level)
    at_once = max(1, ENTRIES_AT_ONCE // max(1, width))
    parts = []
    for first in range(0, max(1, len(index)), at_once):
        some = index[first : first + at_once]
        row, column = torch.empty(2, len(some) * width, dtype=torch.int64)
        entry = torch.empty(len(some) * width, dtype=distances.dtype)
        found = run(distances.data_ptr(), distances.stride(0), some.data_ptr(), len(some), level.data_ptr(), width,
                    scale, row.data_ptr(), column.data_ptr(), entry.data_ptr())  # fmt: skip
        parts.append((row[:found] + first, column[:found].clone(), entry[:found].clone()))
    row, column, entry = (torch.cat(x) for x in zip(*parts, strict=True))
    return row, column, entry


def quantised(distances: Tensor, scale: float) -> Tensor:
    """Distances as integers, half to even."""
    return torch.round(distances.to(torch.float64) * scale).to(torch.int64)


def _of_dtype(name: str, dtype: torch.dtype) -> Any:
    """A function or class of the compiled module, which has one for each dtype."""
    return getattr(compiled.MODULE, f"{name}_{'float64' if dtype == torch.float64 else 'float32'}")


class _Compiled:
    def __init__(self, r: Tensor, h: Tensor, numbers: Tensor, means: Tensor, bias: bool, squared: bool) -> None:
        self._kept = r.contiguous(), h.contiguous(), numbers.contiguous()  # the module points to them
        kind = _of_dtype("ColumnBlock", r.dtype)
        addresses = [x.data_ptr() for x in self._kept]
        sizes = (*r.shape, h.shape[-1])
        self._block = kind(
            *addresses, *sizes, bias, means.contiguous().data_ptr(), squared, torch.get_num_threads()
        )  # fmt: skip

    def square(self, out: Tensor, part: int = 0, parts: int = 1) -> float:
        return float(self._block.square(out.data_ptr(), part, parts, torch.get_num_threads())) if out.numel() else 0.0

    def fill(
        self, residuals: Tensor, features: Tensor, numbers: Tensor, begin: int, out: Tensor, mirror: Tensor | None
    ) -> float:
        kept = [accumulable(residuals).contiguous(), accumulable(features).contiguous(), numbers.contiguous()]
        if not out.numel():
            return 0.0
        largest = self._block.rows(
            *(x.data_ptr() for x in kept), len(numbers), begin, out.data_ptr(), out.stride(0),
            0 if mirror is None else mirror.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        return float(largest)

    def rows(self, residuals: Tensor, features: Tensor, numbers: Tensor) -> Tensor:
        out = self._kept[0].new_empty(len(numbers), len(self._kept[2]))
        self.fill(residuals, features, numbers, 0, out, None)
        return out


class _Reference:
    def __init__(self, r: Tensor, h: Tensor, numbers: Tensor, means: Tensor, bias: bool, squared: bool) -> None:
        self._means, self._squared = means.to(r.dtype), squared
        self._columns = Centred.of(r, h, bias, self._means)

    def square(self, out: Tensor, part: int = 0, parts: int = 1) -> float:
        return _largest(out.copy_(self._columns.distances_to(self._columns, self._squared))) if part == 0 else 0.0

    def fill(
        self, residuals: Tensor, features: Tensor, numbers: Tensor, begin: int, out: Tensor, mirror: Tensor | None
    ) -> float:
        out.copy_(self.rows(residuals, features, numbers)[:, begin:])
        if mirror is not None:
            mirror.copy_(out.T)
        return _largest(out)

    def rows(self, residuals: Tensor, features: Tensor, numbers: Tensor) -> Tensor:
        rows = Centred.of(accumulable(residuals), accumulable(features), self._columns.bias, self._means)
        return rows.distances_to(self._columns, self._squared)


def _largest(x: Tensor) -> float:
    return float(x.max()) if x.numel() else 0.0
