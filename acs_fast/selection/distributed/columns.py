"""One distance matrix over all ranks: each holds its samples' columns, in memory or as factors to compute them from."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from acs_fast._util.dtypes import accumulable_dtype
from acs_fast._util.exchange import Exchange
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.ops.column_block import add_factors, column_block, empty_matrix, factor_means
from acs_fast.selection.distributed.shard import Shard

STEP = 64  # shares begin at its multiples, so that they start a panel of the kernels
ROWS_AT_ONCE = 1024
BYTES_AT_ONCE = 1 << 26  # of distances that a rank computes for others before it sends them
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
        residuals, features = self.exchange.gather_rows(
            self.gradients.residuals[own], self.gradients.features[own], counts=counts
        )
        place = torch.argsort(torch.argsort(owner, stable=True)).to(self.device)
        return residuals[place], features[place]

    def largest(self) -> float:
        """The largest distance of all."""
        everyone = torch.arange(self.n)
        tops = [found.max() for _, found, _ in self.rows(everyone) if found.numel()]
        own = torch.stack(tops).max() if tops else torch.zeros((), dtype=self.dtype)
        return float(self.exchange.maximum(own))


class StoredColumns(Columns):
    """The same, computed once and held: [N, width] distances.

    Of every pair of ranks each computes half of the distances between their samples and sends it to the other, where
    that is cheaper than computing them twice.
    """

    def __init__(self, shard: Shard, edges: Tensor, squared: bool, backend: str, exchange: Exchange) -> None:
        super().__init__(shard, edges, squared, backend, exchange)
        self.matrix = empty_matrix(self.n, self.width, self.dtype, self.device)
        self._fill_own()
        g = self.gradients
        work = g.residuals.shape[1] ** 2 * (g.residuals.shape[2] + g.features.shape[2])
        self._fill_others(shared=work > WORTH_SENDING)

    def rows(self, numbers: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        yield torch.arange(len(numbers)), self.matrix, numbers.to(self.device)

    def largest(self) -> float:
        own = self.matrix.max() if self.matrix.numel() else torch.zeros((), dtype=self.dtype)
        return float(self.exchange.maximum(own))

    def _fill_own(self) -> None:
        """Distances among the samples here: the upper triangle computed, the lower one mirrored."""
        g, square = self.gradients, self.matrix[self.begin : self.end]
        for a in range(0, self.width, ROWS_AT_ONCE):
            b = min(self.width, a + ROWS_AT_ONCE)
            numbers = torch.arange(self.begin + a, self.begin + b, device=self.device)
            self._block.rows(g.residuals[a:b], g.features[a:b], numbers, begin=a, out=square[a:b, a:])
            square[b:, a:b] = square[a:b, b:].T

    def _fill_others(self, shared: bool) -> None:
        """Distances to the samples of other ranks, whose factors pass by a slice at a time."""
        widths = self.edges.diff().tolist()
        slice_bytes = max(1, max(widths) * self.exchange.size * self.matrix.element_size())
        step = max(STEP, BYTES_AT_ONCE // slice_bytes // STEP * STEP)
        for a in range(0, max(widths) if self.exchange.size > 1 else 0, step):
            counts = [min(w, a + step) - min(w, a) for w in widths]
            own = slice(a, a + counts[self.exchange.rank])
            residuals, features = (
                x.split(counts)
                for x in self.exchange.gather_rows(
                    self.gradients.residuals[own], self.gradients.features[own], counts=counts
                )
            )
            sent = [self._slice(q, a, residuals[q], features[q], shared) for q in range(self.exchange.size)]
            if shared:
                self._mirror(sent, a, counts)

    def _slice(self, other: int, a: int, residuals: Tensor, features: Tensor, shared: bool) -> Tensor:
        """Compute and store this rank's part of the distances to a slice of another rank's samples; returns it."""
        first = int(self.edges[other]) + a
        rows, columns = self._part(other, self.exchange.rank, a, len(residuals), shared)
        if other == self.exchange.rank or not rows or columns == self.width:
            return self.matrix.new_empty(0)
        numbers = torch.arange(first, first + rows, device=self.device)
        out = self.matrix[first : first + rows, columns:]
        return self._block.rows(residuals[:rows], features[:rows], numbers, begin=columns, out=out)

    def _mirror(self, sent: list[Tensor], a: int, counts: list[int]) -> None:
        """Send what was computed for a slice to its rank, and store what others have computed for the one here."""
        shapes = []
        for other, width in enumerate(self.edges.diff().tolist()):
            rows, begin = self._part(self.exchange.rank, other, a, counts[self.exchange.rank], True)
            none = other == self.exchange.rank or not rows or begin == width
            shapes.append((0, 0) if none else (rows, width - begin))
        for other, found in enumerate(self.exchange.swap(sent, shapes)):
            if found.numel():
                begin = int(self.edges[other + 1]) - found.shape[1]
                self.matrix[begin : begin + found.shape[1], a : a + len(found)] = found.T

    def _part(self, rows_of: int, columns_of: int, a: int, count: int, shared: bool) -> tuple[int, int]:
        """What rank `columns_of` computes of a slice of rank `rows_of`: how many of its rows, from which column on.

        Of two ranks the lower one takes all its columns by the first half of the other's samples, and the higher one
        the second half of its columns by all of the other's samples.
        """
        if not shared:
            return count, 0
        higher = max(rows_of, columns_of)
        half = int(self.edges.diff()[higher]) // 2 // STEP * STEP
        if columns_of == higher:
            return count, half
        return max(0, min(count, half - a)), 0
