"""Rows that travel between processes: delivered in order, whatever their dtypes."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import Tensor

from acs_fast._util import delivery
from acs_fast._util.exchange import Exchange
from tests.selection.distributed.ranks import on_ranks
from tests.util.columns import N, columns


def deliver_backwards(rank: int, ranks: int) -> list[Tensor]:
    """The last rank has nothing and gets nothing; the others hold rows in any order, each for any rank."""
    key = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    own = key[key % (ranks - 1) == rank]
    with mock.patch.object(delivery, "BYTES_AT_ONCE", 64):
        return delivery.deliver(Exchange(), own // 3 % (ranks - 1), own, *(c[own] for c in columns()))


@pytest.mark.parametrize("ranks", [2, 3])
def test_rows_arrive_in_order(ranks: int, tmp_path: Path) -> None:
    for rank, (key, *found) in enumerate(on_ranks(ranks, tmp_path, deliver_backwards)):
        wanted = torch.arange(N)
        wanted = wanted[wanted // 3 % (ranks - 1) == rank]
        assert torch.equal(key, wanted)
        for column, all_rows in zip(found, columns(), strict=True):
            assert torch.equal(column, all_rows[wanted])


def test_one_process_sorts() -> None:
    key = torch.tensor([2, 0, 1])
    found = delivery.deliver(Exchange(), torch.zeros(3, dtype=torch.int64), key, torch.tensor([20, 0, 10]))
    assert [x.tolist() for x in found] == [[0, 1, 2], [0, 10, 20]]
