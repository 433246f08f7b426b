"""Selectors over shards: fewer mini-batches than ranks, and classes of a user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import acs_fast as acs
from acs_fast._util.exchange import Exchange
from acs_fast.selection import PerBatch
from acs_fast.selection.distributed import Shard, select_across
from tests.helpers import make_gradients
from tests.selection.distributed.ranks import on_ranks

N, BUDGET = 40, 20


class LastOnes(acs.Craig):
    """A subclass that chooses in its own way."""

    def select(self, n: int, budget: int, *others: Any) -> acs.Coreset:
        return acs.Coreset(torch.arange(n - budget, n), torch.full((budget,), n / budget), torch.zeros(budget))


class Renamed(acs.Craig):
    """A subclass that chooses as its parent does."""


SELECTORS = {
    "one mini-batch": PerBatch(acs.GradMatch(), N),
    "two mini-batches": PerBatch(acs.GradMatch(), N // 2),
    "its own choice": LastOnes(),
    "its own choice of mini-batches": PerBatch(LastOnes(), 1),
    "its parent's choice": Renamed(),
}


def select_all(rank: int, ranks: int) -> dict[str, acs.Coreset]:
    own = torch.arange(rank, N, ranks)
    shard = Shard(make_gradients(N)[own], own, own % 3)
    return {name: select_across(each, shard, N, BUDGET, 0, Exchange()) for name, each in SELECTORS.items()}


@pytest.mark.parametrize("ranks", [3, 4])
def test_every_class_selects_over_shards_what_its_own_select_does(ranks: int, tmp_path: Path) -> None:
    for found in on_ranks(ranks, tmp_path, select_all):
        for name, selector in SELECTORS.items():
            wanted = selector.select(N, BUDGET, make_gradients(N), torch.arange(N) % 3, 0)
            assert torch.equal(found[name].indices, wanted.indices), name
            assert torch.equal(found[name].weights, wanted.weights), name
        assert found["its parent's choice"].stats["path"] == "per class"  # shared among the ranks
        assert "exchange" not in found["its own choice"].stats
