"""The same picks, weights and gains, bit for bit, on any number of processes and however the samples lie on them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

import acs_fast as acs
from acs_fast.selection.distributed import Shard, columns, covering, facility_location, gradient_matching
from tests.helpers import make_gradients
from tests.selection.distributed.ranks import on_ranks

Sharing = Callable[[Tensor, int], Tensor]  # sample numbers and W to the rank of each sample
SHARINGS: dict[str, Sharing] = {
    "by batches": lambda index, ranks: index // 13 % ranks,
    "all on the last rank": lambda index, ranks: torch.full_like(index, ranks - 1),
    "uneven, backwards": lambda index, ranks: index.flip(0) ** 2 * ranks // len(index) ** 2,
}


def data() -> dict[str, tuple[acs.LastLayerGradients, Tensor]]:
    """Gradients and labels by name: plain, ties, zero gradients, several head passes, both dtypes, tiny."""
    draw = torch.Generator().manual_seed(5)
    plain, wide = make_gradients(210, 4, 5), make_gradients(260, 5, 150)
    repeated = plain[torch.randint(40, (210,), generator=draw)]
    silent = acs.LastLayerGradients(repeated.residuals * (torch.arange(210) % 3 > 0)[:, None, None], repeated.features)
    found = {
        "plain": plain,
        "ties": repeated,
        "zero gradients": silent,
        "factors worth sending": wide,
        "nearly of low rank": nearly_of_low_rank(),
        "two passes in float64": make_gradients(150, 3, 4, passes=2, dtype=torch.float64),
        "six samples": plain[:6],
    }
    labels = {name: torch.randint(3, (len(g),), generator=draw) for name, g in found.items()}
    for y in labels.values():
        y[0] = 7  # a class of one member
    return {name: (g, labels[name]) for name, g in found.items()}


def nearly_of_low_rank() -> acs.LastLayerGradients:
    """What is left of them soon is so small that matching gives up on Gram columns in float32."""
    g = make_gradients(160, 10, 256)
    few = torch.randn(4, 256, generator=torch.Generator().manual_seed(0))
    features = g.features[..., :4] @ few + 1e-3 * make_gradients(160, 10, 256, seed=1).features
    return acs.LastLayerGradients(g.residuals, features)


def cases() -> Iterator[tuple[str, Callable[..., acs.Coreset], Callable[..., acs.Coreset]]]:
    """Names, what selects on one process and what selects on a shard, both called with gradients and labels."""
    for metric in ("euclidean", "sqeuclidean"):
        yield (
            f"CRAIG by class, {metric}",
            lambda g, y, metric=metric: acs.facility_location(g, 0.7, groups=y, metric=metric),
            lambda shard, metric=metric: facility_location(shard, 0.7, metric=metric),
        )
        yield (
            f"CRAIG, {metric}",
            lambda g, y, metric=metric: acs.facility_location(g, 0.7, metric=metric),
            lambda shard, metric=metric: facility_location(shard, 0.7, metric=metric, per_class=False),
        )
    for fill in ("none", "random", "next_best"):
        options: dict[str, Any] = {"fill": fill, "seed": 3}
        yield (
            f"GradMatch by class, {fill}",
            lambda g, y, o=options: acs.gradient_matching(g, 0.9, groups=y, **o),
            lambda shard, o=options: gradient_matching(shard, 0.9, **o),
        )
        yield (
            f"GradMatch, {fill}",
            lambda g, y, o=options: acs.gradient_matching(g, 0.4, ridge=1e-3, **o),
            lambda shard, o=options: gradient_matching(shard, 0.4, ridge=1e-3, per_class=False, **o),
        )


def select_all(rank: int, ranks: int) -> dict[str, acs.Coreset]:
    """Every case on every data set, one sharing after the other."""
    found = {}
    for (name, (g, y)), deal in zip(data().items(), itertools.cycle(SHARINGS.values())):
        owner = deal(torch.arange(len(g)), ranks)
        own = (owner == rank).nonzero().flatten().flip(0)
        shard = Shard(g[own], own, y[own])
        for case, _, select in cases():
            found[f"{name}: {case}"] = select(shard)
        little = mock.patch.object(covering, "own_workspace_bytes", return_value=0)
        with little, mock.patch.object(columns, "ROWS_AT_ONCE", 48):
            found[f"{name}: matrix-free"] = facility_location(shard, 0.7, per_class=False)
        with mock.patch.object(columns, "LEAST_BLOCKS", 0):
            found[f"{name}: whole tiles"] = facility_location(shard, 0.7, per_class=False)
    return found


@pytest.fixture(scope="module")
def wanted() -> dict[str, acs.Coreset]:
    found = {}
    for name, (g, y) in data().items():
        found |= {f"{name}: {case}": select(g, y) for case, select, _ in cases()}
        found[f"{name}: matrix-free"] = found[f"{name}: whole tiles"] = acs.facility_location(g, 0.7)
    return found


def same(a: acs.Coreset, b: acs.Coreset) -> bool:
    parts = ((a.indices, b.indices), (a.weights, b.weights), (a.gains, b.gains))
    return all(torch.equal(x, y) for x, y in parts) and a.stats["objective"] == b.stats["objective"]


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_picks_weights_and_gains_are_those_of_one_process(
    ranks: int, tmp_path: Path, wanted: dict[str, acs.Coreset]
) -> None:
    every = [select_all(0, 1)] if ranks == 1 else on_ranks(ranks, tmp_path, select_all)
    for found in every:
        assert found.keys() == wanted.keys()
        assert [name for name in wanted if not same(found[name], wanted[name])] == []
        for name, one in wanted.items():
            error = one.stats["relative_gradient_error"]
            assert found[name].stats["relative_gradient_error"] == pytest.approx(error, rel=1e-9, abs=1e-12), name
