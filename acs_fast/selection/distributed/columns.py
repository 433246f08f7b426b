"""Distances in shares, one for each rank: in memory, or computed from factors."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from acs_fast._util.dtypes import accumulable_dtype
from acs_fast._util.exchange import Exchange
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.ops.column_block import (
    ColumnBlock,
    add_factors,
    empty_matrix,
    factor_means,
    lower_entries,
    lower_gains,
)
from acs_fast.selection.distributed.shard import Shard

STEP = 64  # shares and blocks begin at its multiples, so that they start a panel of the kernels
ROWS_AT_ONCE = 1024  # of distances that are not held
LEAST_BLOCKS = 8  # of a rank, where whole tiles of the kernels make as many


def edges_of(n: int, ranks: int) -> Tensor:
    """[W + 1] edges of contiguous shares of n samples.

    Example:
        >>> edges_of(200, 2).tolist()
        [0, 128, 200]
    """
    steps = -(-n // STEP)
    return torch.tensor([-(-steps * r // ranks) * STEP for r in range(ranks + 1)]).clamp_max(n)


class ComputedColumns:
    """Distances of any samples to those of this rank, computed whenever they are asked for.

    All ranks call its methods with the same arguments.

    Attributes:
        held: a share of the samples, in ascending order of number; every sample belongs to one rank's.
        own: [m] int64, ascending: the candidates whose gains live on this rank.
    """

    def __init__(self, shard: Shard, n: int, squared: bool, exchange: Exchange) -> None:
        self.edges, self.exchange = edges_of(n, exchange.size), exchange
        self.held = shard.deliver(torch.searchsorted(self.edges, shard.index, right=True) - 1, exchange)
        self.own = self.held.index
        self._begin, self._end = self.edges[exchange.rank : exchange.rank + 2].tolist()
        g = self.held.gradients
        sums = exchange.passed_along(_no_sums(g), lambda s: add_factors(s, g.residuals, g.features))
        means = factor_means(sums, n, g.dtype)
        self._block = ColumnBlock(g.residuals, g.features, self.own, means, g.bias, squared)

    def largest(self) -> float:
        """The largest distance of all."""
        everyone = torch.arange(int(self.edges[-1]))
        tops = [found.max().double() for _, found in self._rows(everyone) if found.numel()]
        return float(self.exchange.maximum(torch.stack([torch.zeros((), dtype=torch.float64), *tops]).max()))

    def gain_changes(self, samples: Tensor, low: Tensor, high: Tensor, scale: float) -> Tensor:
        """[m] what the gains of this rank's candidates change by, when some samples pay less; see `lower_gains`."""
        found = torch.zeros(len(self.own), dtype=torch.int64)
        for part, matrix in self._rows(samples):
            lower_gains(found, matrix, torch.arange(len(part)), low[part], high[part], scale)
        return found

    def offers(self, numbers: Tensor, level: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
        """Samples that would pay less at some candidates; together the ranks find all of them.

        Args:
            numbers: [M] the candidates.
            level: [N] what every sample pays.

        Returns:
            [E] positions in `numbers`, [E] samples, [E] what they would pay.
        """
        parts, level = [], level[self._begin : self._end]
        for part, matrix in self._rows(numbers):
            row, column, price = lower_entries(matrix, torch.arange(len(part)), level, scale)
            parts.append((part[row], column + self._begin, price))
        which, sample, price = (torch.cat(x) for x in zip(*parts, strict=True))
        return which, sample, price

    def _rows(self, numbers: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Which of the numbers [m], and the distances of these samples to the columns here [m, n].

        The parts are strided, so that all ranks own alike many of each: what a rank sends is padded to the most.
        """
        parts = max(1, -(-len(numbers) // ROWS_AT_ONCE))
        for first in range(parts):
            part = torch.arange(len(numbers))[first::parts]
            yield part, self._block.rows(*self._fetched(numbers[part]), numbers[part])

    def _fetched(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Factors of samples that lie on any rank."""
        owner = torch.searchsorted(self.edges, numbers, right=True) - 1
        counts = torch.bincount(owner, minlength=self.exchange.size).tolist()
        g, own = self.held.gradients, numbers[owner == self.exchange.rank] - self._begin
        found = self.exchange.gather_parts(g.residuals[own], g.features[own], counts=counts)
        residuals, features = (torch.cat(x) for x in zip(*found, strict=True))
        place = torch.argsort(torch.argsort(owner, stable=True))
        return residuals[place], features[place]


class StoredPairs:
    """Distances computed once and held: those of every pair of samples by one rank, in both directions.

    Samples are cut into blocks, and the pair of blocks a and b belongs to rank (a + b) mod W. So on rank r a sample of
    block a has its distances to the blocks b of one kind, b mod W = (r - a) mod W. Gains are sums over what all ranks
    hold; those of the candidates of kind r live on rank r. Its methods are those of `ComputedColumns`.
    """

    def __init__(self, shard: Shard, n: int, squared: bool, exchange: Exchange) -> None:
        self._exchange = exchange
        whole = shard.whole(exchange)
        g, ranks = whole.gradients, exchange.size
        begin, end = edges_of(n, ranks)[exchange.rank : exchange.rank + 2].tolist()
        self.held = Shard(g[begin:end], whole.index[begin:end])
        means = factor_means(add_factors(_no_sums(g), g.residuals, g.features), n, g.dtype)
        columns = ColumnBlock(g.residuals, g.features, whole.index, means, g.bias, squared)
        block = columns.tile_size if n >= LEAST_BLOCKS * ranks * columns.tile_size else STEP
        self._kind = whole.index // block % ranks
        self._by_kind = torch.argsort(self._kind, stable=True)
        self._sizes = torch.bincount(self._kind, minlength=ranks).tolist()
        self.own = self._by_kind.split(self._sizes)[exchange.rank]
        self._matrix = empty_matrix(n, max(self._sizes), accumulable_dtype(g.dtype))
        self._largest = columns.pairs(self._matrix, block, exchange.rank, ranks)

    @staticmethod
    def planned_bytes(n: int, g: LastLayerGradients, ranks: int) -> int:
        """The distances, and all factors as they come and as the kernels read them."""
        factors = g.residuals.shape[1:].numel() + g.features.shape[1:].numel()
        return n * (-(-n // ranks) + 2 * factors) * accumulable_dtype(g.dtype).itemsize

    def largest(self) -> float:
        return float(self._exchange.maximum(torch.tensor(self._largest, dtype=torch.float64)))

    def gain_changes(self, samples: Tensor, low: Tensor, high: Tensor, scale: float) -> Tensor:
        found = torch.zeros(len(self._kind), dtype=torch.int64)
        for which, columns in self._columns(samples):
            lower_gains(found[columns], self._matrix, samples[which], low[which], high[which], scale)
        return self._exchange.sum_of_parts(found, self._sizes)

    def offers(self, numbers: Tensor, level: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
        parts, level = [], level[self._by_kind]
        for which, columns in self._columns(numbers):
            row, column, price = lower_entries(self._matrix, numbers[which], level[columns], scale)
            parts.append((which[row], self._by_kind[columns][column], price))
        which, sample, price = (torch.cat(x) for x in zip(*parts, strict=True))
        return which, sample, price

    def _columns(self, samples: Tensor) -> Iterator[tuple[Tensor, slice]]:
        """Which of the samples have the same columns here, and the place of these in `_by_kind`."""
        kinds, ranks = self._kind[samples], self._exchange.size
        for kind in range(ranks):
            other = (self._exchange.rank - kind) % ranks
            first = sum(self._sizes[:other])
            yield (kinds == kind).nonzero().flatten(), slice(first, first + self._sizes[other])


Columns = ComputedColumns | StoredPairs


def _no_sums(g: LastLayerGradients) -> Tensor:
    """[R, C + D] zeros."""
    return torch.zeros(g.residuals.shape[1], g.residuals.shape[2] + g.features.shape[2], dtype=torch.float64)
