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

    def rows(
        self, residuals: Tensor, features: Tensor, numbers: Tensor, begin: int = 0, out: Tensor | None = None
    ) -> Tensor:
        """[M, n - begin] distances of M samples to the columns from `begin`, a multiple of 64, on.

        Args:
            residuals, features: [M, R, C] and [M, R, D].
            numbers: [M] of the samples among all N.
            out: where they go, rows contiguous; by default a new tensor.
        """


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
        run = compiled.MODULE.lower_gains_float64 if distances.dtype == torch.float64 else (
            compiled.MODULE.lower_gains_float32
        )  # fmt: skip
        run(gains.data_ptr(), len(gains), distances.data_ptr(), distances.stride(0), index.data_ptr(), len(index),
            low.data_ptr(), high.data_ptr(), scale, torch.get_num_threads())  # fmt: skip
        return
    for t in torch.arange(len(index), device=index.device).split(max(1, ENTRIES_AT_ONCE // max(1, len(gains)))):
        clamped = distances[index[t]].clamp(low[t, None], high[t, None])
        gains += (quantised(clamped, scale) - quantised(high[t, None], scale)).sum(0)


def quantised(distances: Tensor, scale: float) -> Tensor:
    """Distances as integers, half to even."""
    return torch.round(distances.to(torch.float64) * scale).to(torch.int64)


class _Compiled:
    def __init__(self, r: Tensor, h: Tensor, numbers: Tensor, means: Tensor, bias: bool, squared: bool) -> None:
        self._kept = r.contiguous(), h.contiguous(), numbers.contiguous()  # the module points to them
        module: Any = compiled.MODULE
        kind = module.ColumnBlockFloat64 if r.dtype == torch.float64 else module.ColumnBlockFloat32
        addresses = [x.data_ptr() for x in self._kept]
        sizes = (*r.shape, h.shape[-1])
        self._block = kind(
            *addresses, *sizes, bias, means.contiguous().data_ptr(), squared, torch.get_num_threads()
        )  # fmt: skip

    def rows(
        self, residuals: Tensor, features: Tensor, numbers: Tensor, begin: int = 0, out: Tensor | None = None
    ) -> Tensor:
        kept = [accumulable(residuals).contiguous(), accumulable(features).contiguous(), numbers.contiguous()]
        out = kept[0].new_empty(len(numbers), len(self._kept[2]) - begin) if out is None else out
        if out.numel():
            self._block.rows(
                *(x.data_ptr() for x in kept), len(numbers), begin, out.data_ptr(), out.stride(0),
                torch.get_num_threads(),
            )  # fmt: skip
        return out


class _Reference:
    def __init__(self, r: Tensor, h: Tensor, numbers: Tensor, means: Tensor, bias: bool, squared: bool) -> None:
        self._means, self._squared = means.to(r.dtype), squared
        self._columns = Centred.of(r, h, bias, self._means)

    def rows(
        self, residuals: Tensor, features: Tensor, numbers: Tensor, begin: int = 0, out: Tensor | None = None
    ) -> Tensor:
        c = self._columns
        rows = Centred.of(accumulable(residuals), accumulable(features), c.bias, self._means)
        found = rows.distances_to(c.take(torch.arange(begin, len(c.r), device=c.r.device)), self._squared)
        return found if out is None else out.copy_(found)
