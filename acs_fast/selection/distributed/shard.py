"""One process's part of the samples, and its delivery to other processes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acs_fast import _version
from acs_fast._util.blocks import block_bytes
from acs_fast._util.checks import check_finite
from acs_fast._util.delivery import deliver
from acs_fast._util.exchange import Exchange
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.ops import compiled

BYTES_AT_ONCE, LEAST_ROWS = 1 << 24, 64  # of all ranks that come in one meeting, and rows of each


@dataclass(frozen=True)
class Shard:
    """Some of N samples; every sample belongs to the shard of exactly one rank.

    Attributes:
        gradients: of the n_r samples here; with n_r = 0 the factors still have their widths.
        index: [n_r] int64, their numbers among all N.
        labels: [n_r] int64, where there is a problem for each class.
    """

    gradients: LastLayerGradients
    index: Tensor
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.index)

    def check(self, exchange: Exchange) -> int:
        """N, once all ranks have found their shards in order.

        Raises:
            ValueError: the shards do not hold every sample once, they or the versions of what selects differ, labels or
                index have another length than the gradients, or gradients are NaN or infinite (names the samples).
        """
        with exchange.together("checking the shard"):
            self._check_own()
        g = self.gradients
        labelled = self.labels is not None
        exchange.check_equal({"widths": (*g.residuals.shape[1:], *g.features.shape[1:]), "bias": g.bias,
                              "dtype": g.dtype, "labelled": labelled, **versions()})  # fmt: skip
        n, fingerprint = exchange.sum(torch.tensor([len(self), _fingerprint(self.index)])).tolist()
        if n == 0:
            raise ValueError("shards must hold at least one sample; all are empty")
        if fingerprint != _fingerprint(torch.arange(n)):
            raise ValueError(f"index must number every one of the {n} samples once over all ranks, from 0; it does not")
        return int(n)

    def _check_own(self) -> None:
        if len(self.gradients) != len(self.index) or (self.labels is not None and len(self.labels) != len(self.index)):
            raise ValueError(
                f"gradients, index and labels must have one length; got {len(self.gradients)}, {len(self.index)} and "
                f"{'no' if self.labels is None else len(self.labels)} labels"
            )
        check_finite("gradients", self.gradients.residuals, self.gradients.features)

    def deliver(self, owner: Tensor, exchange: Exchange) -> Shard:
        """Every sample at its owner, each rank's in ascending order of their numbers.

        Args:
            owner: [n_r] the rank that is to hold each sample.
        """
        g = self.gradients
        labels = [] if self.labels is None else [self.labels.to(g.device)]
        index, residuals, features, *labels = deliver(
            exchange, owner, self.index.to(g.device), g.residuals, g.features, *labels
        )
        return Shard(LastLayerGradients(residuals, features, g.bias), index, labels[0] if labels else None)

    def sorted(self) -> Shard:
        """The same in ascending order of their numbers."""
        g, labels = self.gradients, self.labels
        order = torch.argsort(self.index.to(g.device))
        return Shard(g[order], self.index.to(g.device)[order], None if labels is None else labels.to(g.device)[order])

    def whole(self, exchange: Exchange) -> Shard:
        """The samples of all ranks on every rank, without labels, in ascending order of their numbers."""
        g, index = self.gradients, self.index.to(self.gradients.device)
        counts = exchange.gather(torch.tensor([len(self)])).flatten().tolist()
        residuals, features = (x.new_empty(sum(counts), *x.shape[1:]) for x in (g.residuals, g.features))
        step = rows_at_once(block_bytes([g.residuals, g.features, index], 1), exchange.size)
        for first in range(0, max(counts), step):
            rows, here = slice(first, first + step), [min(step, max(0, n - first)) for n in counts]
            for r, h, numbers in exchange.gather_parts(g.residuals[rows], g.features[rows], index[rows], counts=here):
                residuals[numbers], features[numbers] = r, h
        return Shard(LastLayerGradients(residuals, features, g.bias), torch.arange(len(residuals), device=g.device))

    def whole_labels(self, exchange: Exchange) -> Tensor | None:
        """[N] the labels of all samples on every rank, on the CPU."""
        if self.labels is None:
            return None
        index, labels = exchange.gather_rows(self.index.cpu(), self.labels.cpu())
        return labels[torch.argsort(index)]


def rows_at_once(row_bytes: int, ranks: int) -> int:
    """How many rows of each rank are gathered in one meeting."""
    return max(LEAST_ROWS, BYTES_AT_ONCE // (row_bytes * ranks))


def versions() -> dict[str, str]:
    """What decides the last bits of a distance: versions, and the instruction set of the compiled kernels."""
    simd = "none" if compiled.MODULE is None else compiled.MODULE.build_info()["simd"]
    return {"acs_fast": _version.__version__, "torch": torch.__version__, "instruction set": simd}


def _fingerprint(index: Tensor) -> int:
    """A number that two sets of sample numbers share only by a chance of about 2^-63; adds up over disjoint sets."""
    x = (index.to(torch.int64) + 1) * -7046029254386353131
    x = (x ^ (x >> 29)) * -4658895280553007687
    return int((x ^ (x >> 32)).sum())


def dealt(sizes: Tensor, ranks: int) -> Tensor:
    """[G] which rank solves each problem: by size squared, the largest first to the least loaded, the lowest of equals.

    Example:
        >>> dealt(torch.tensor([3, 1, 4, 2]), 2).tolist()
        [1, 1, 0, 1]
    """
    load = [0] * ranks
    owner = torch.zeros(len(sizes), dtype=torch.int64)
    for problem in torch.argsort(sizes, descending=True, stable=True).tolist():
        rank = min(range(ranks), key=lambda r: (load[r], r))
        owner[problem] = rank
        load[rank] += int(sizes[problem]) ** 2
    return owner
