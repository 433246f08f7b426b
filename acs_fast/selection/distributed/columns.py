"""One distance matrix over all ranks: each holds its samples' columns, in memory or as factors to compute them from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from acs_fast._util.dtypes import accumulable_dtype
from acs_fast._util.exchange import Exchange
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.ops.column_block import add_factors, column_block, empty_matrix, factor_means
from acs_fast.selection.distributed.shard import Shard

STEP = 64  # shares begin at its multiples, so that they start a panel of the kernels
ROWS_AT_ONCE = 1024  # of distances that are not held
BYTES_AT_ONCE = 1 << 24  # of distances that a rank computes for another before it sends them
LEAST_TURNS = (
    8  # at which ranks compute for one another, where there is enough: their parts of a turn differ by a slice
)
WORTH_SENDING = 200  # multiplications that take as long as sending one distance


def edges_of(n: int, ranks: int) -> Tensor:
    """[W + 1] edges of contiguous shares of n samples.

    Example:
        >>> edges_of(200, 2).tolist()
        [0, 128, 200]
    """
    steps = -(-n // STEP)
    return torch.tensor([-(-steps * r // ranks) * STEP for r in range(ranks + 1)]).clamp_max(n)


class Columns:
    """Distances of any samples to those of this rank, computed when they are asked for.

    Args:
        shard: the samples edges[rank] to edges[rank + 1], in order.
        edges: [W + 1], see `edges_of`.
    """

    def __init__(self, shard: Shard, edges: Tensor, squared: bool, backend: str, exchange: Exchange) -> None:
        self.n, self.edges, self.exchange = int(edges[-1]), edges, exchange
        self.begin, self.end = int(edges[exchange.rank]), int(edges[exchange.rank + 1])
        self.gradients: LastLayerGradients = shard.gradients
        g = shard.gradients
        start = torch.zeros(g.residuals.shape[1], g.residuals.shape[2] + g.features.shape[2], dtype=torch.float64)
        sums = exchange.passed_along(start.to(g.device), lambda s: add_factors(s, g.residuals, g.features))
        self.device, self.dtype = g.device, accumulable_dtype(g.dtype)
        means = factor_means(sums, self.n, g.dtype)
        self._block = column_block(g.residuals, g.features, shard.index, means, g.bias, squared, backend)

    @property
    def width(self) -> int:
        return self.end - self.begin

    def rows(self, numbers: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Distances of samples to the columns here; every rank asks for the same samples.

        Args:
            numbers: [M] int64 on the CPU, ascending or not.

        Yields:
            which of `numbers` these are [m], a matrix of distances, and which of its rows belong to them [m].
        """
        for part in torch.arange(len(numbers)).split(ROWS_AT_ONCE):
            residuals, features = self._fetched(numbers[part])
            found = self._block.rows(residuals, features, numbers[part].to(self.device))
            yield part, found, torch.arange(len(part), device=self.device)

    def _fetched(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Factors of samples that lie on any rank."""
        owner = torch.searchsorted(self.edges, numbers, right=True) - 1
        counts = torch.bincount(owner, minlength=self.exchange.size).tolist()
        own = (numbers[owner == self.exchange.rank] - self.begin).to(self.device)
        found = self.exchange.gather_parts(self.gradients.residuals[own], self.gradients.features[own], counts=counts)
        residuals, features = (torch.cat(x) for x in zip(*found(), strict=True))
        place = torch.argsort(torch.argsort(owner, stable=True)).to(self.device)
        return residuals[place], features[place]

    def largest(self) -> float:
        """The largest distance of all."""
        everyone = torch.arange(self.n)
        tops = [found.max() for _, found, _ in self.rows(everyone) if found.numel()]
        own = torch.stack(tops).max() if tops else torch.zeros((), dtype=self.dtype)
        return float(self.exchange.maximum(own))


@dataclass(frozen=True)
class _Part:
    """What one rank computes at one turn: a slice of another's samples by its own last columns.

    Attributes:
        first, rows: number of the first sample, and how many.
        begin, columns: place of the first column among those of the rank, and how many.
    """

    first: int
    rows: int
    begin: int
    columns: int

    @property
    def size(self) -> int:
        return self.rows * self.columns


class StoredColumns(Columns):
    """The same, computed once and held: [N, width] distances.

    Of every pair of ranks each computes half of the distances between their samples and sends it to the other, where
    that is cheaper than computing them twice.
    """

    def __init__(self, shard: Shard, edges: Tensor, squared: bool, backend: str, exchange: Exchange) -> None:
        super().__init__(shard, edges, squared, backend, exchange)
        self.matrix = empty_matrix(self.n, self.width, self.dtype, self.device)
        g, widest = self.gradients, int(edges.diff().max())
        work = g.residuals.shape[1] ** 2 * (g.residuals.shape[2] + g.features.shape[2])
        self._shared = exchange.size > 1 and work > WORTH_SENDING
        affordable = BYTES_AT_ONCE // (widest * self.matrix.element_size())
        self._step = max(STEP, min(affordable, widest // LEAST_TURNS) // STEP * STEP)
        self._largest = self._fill(-(-widest // self._step))

    def rows(self, numbers: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        yield torch.arange(len(numbers)), self.matrix, numbers.to(self.device)

    def largest(self) -> float:
        return float(self.exchange.maximum(torch.tensor(self._largest, dtype=torch.float64)))

    def _fill(self, turns: int) -> float:
        """Compute and exchange everything, and return the largest distance computed here.

        While a turn's part is computed, the factors of the next one come, and the distances of the last one travel.
        """
        own, ranks = self.exchange.rank, range(self.exchange.size)
        parts = [[self._part(turn, q, own) for q in ranks] for turn in range(turns)]
        coming = [[self._part(turn, own, q) for q in ranks] for turn in range(turns)]
        sent, arrived = self._buffers(parts, 2), self._buffers(coming, 1)[0]
        passing, store, largest = self._passing(0), _nothing, 0.0
        for turn in range(turns):
            factors = passing()
            if turn + 1 < turns:
                passing = self._passing(turn + 1)
            sizes = [part.size for part in parts[turn]]
            moving = sent[turn % 2, : sum(sizes)] if self._shared else None
            mirrors = moving.split(sizes) if moving is not None else [None] * len(sizes)
            for part, taken, mirror in zip(parts[turn], factors, mirrors, strict=True):
                largest = max(largest, self._compute(part, taken, mirror))
            store()
            if moving is not None:
                store = self._exchanged(moving, sizes, coming[turn], arrived)
            largest = max(largest, self._block.square(self.matrix[self.begin : self.end], turn, turns))
        store()
        return largest

    def _part(self, turn: int, rows_of: int, columns_of: int) -> _Part:
        """What rank `columns_of` computes of the samples of rank `rows_of`.

        Shares are cut into slices, and at turn t the t-th of every rank passes by as rows. Of two slices the later one
        is the columns; of the t-th of two ranks, that of the lower rank where t is even, else that of the higher.
        """
        edges, step = self.edges.tolist(), self._step
        widths = [b - a for a, b in pairwise(edges)]
        rows = min(step, max(0, widths[rows_of] - turn * step))
        has_equal = (columns_of < rows_of) == (turn % 2 == 0)
        first = (turn if has_equal else turn + 1) if self._shared else 0
        begin = min(first * step, widths[columns_of])
        return _Part(
            edges[rows_of] + turn * step, 0 if rows_of == columns_of else rows, begin, widths[columns_of] - begin
        )

    def _buffers(self, parts: list[list[_Part]], count: int) -> Tensor:
        most = max(sum(part.size for part in turn) for turn in parts) if self._shared else 0
        return empty_matrix(count, most, self.dtype, self.device)

    def _passing(self, turn: int) -> Callable[[], list[list[Tensor]]]:
        """Begin to gather the factors of a slice from every rank."""
        g, step = self.gradients, self._step
        counts = [min(step, max(0, w - turn * step)) for w in self.edges.diff().tolist()]
        own = slice(turn * step, turn * step + counts[self.exchange.rank])
        return self.exchange.gather_parts(g.residuals[own], g.features[own], counts=counts)

    def _compute(self, part: _Part, factors: list[Tensor], mirror: Tensor | None) -> float:
        residuals, features = (x[: part.rows] for x in factors)
        numbers = torch.arange(part.first, part.first + part.rows, device=self.device)
        out = self.matrix[part.first : part.first + part.rows, part.begin :]
        return self._block.fill(residuals, features, numbers, part.begin, out, mirror)

    def _exchanged(self, sent: Tensor, sizes: list[int], coming: list[_Part], arrived: Tensor) -> Callable[[], None]:
        """Begin to send each rank what was computed of its samples; returns what stores the same from the others."""
        sizes_in = [part.size for part in coming]
        wait = self.exchange.swap(sent, sizes, sizes_in, arrived[: sum(sizes_in)])

        def store() -> None:
            for edge, part, found in zip(self.edges[:-1].tolist(), coming, wait(), strict=True):
                place = part.first - self.begin
                rows = slice(edge + part.begin, edge + part.begin + part.columns)
                self.matrix[rows, place : place + part.rows] = found.view(part.columns, part.rows)

        return store


def _nothing() -> None:
    """What there is to store before the first turn."""
