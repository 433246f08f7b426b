"""Meetings of processes: what everybody holds afterwards, what was counted, and errors on one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from acs_fast._util.exchange import Exchange
from tests.selection.distributed.ranks import on_ranks


def own(rank: int) -> Tensor:
    return torch.arange(2 * rank, dtype=torch.float64) + 10.0 * rank


def collectives(rank: int, ranks: int) -> dict[str, Any]:
    exchange, value = Exchange(), torch.tensor([rank, -rank])
    found: dict[str, Any] = {"maximum": exchange.maximum(value), "sum": exchange.sum(value)}
    found["after two"] = exchange.report()
    found["gather"] = exchange.gather(value)
    for room in (0, 1, 16):  # with too little room the rows come in a second meeting
        before = exchange.meetings
        rows, numbers = exchange.gather_rows(own(rank), torch.full((2 * rank,), rank), room=room)
        found[f"rows, room {room}"] = (rows, numbers, exchange.meetings - before)
    found["parts"] = exchange.sum_of_parts(torch.arange(2 * ranks) + rank, [2] * ranks)
    found["along"] = exchange.passed_along(torch.zeros(2), lambda x: x * 2 + rank)
    found["first"] = exchange.from_first("it", lambda: f"of {exchange.rank}")
    found["objects"] = exchange.objects({"rank": rank})
    return found


@pytest.mark.parametrize("ranks", [2, 3])
def test_everybody_holds_the_same(ranks: int, tmp_path: Path) -> None:
    for rank, found in enumerate(on_ranks(ranks, tmp_path, collectives)):
        assert found["maximum"].tolist() == [ranks - 1, 0]
        assert found["sum"].tolist() == [sum(range(ranks)), -sum(range(ranks))]
        sent = 2 * (2 * (ranks - 1) * 16 // ranks)
        assert found["after two"] == {"world_size": ranks, "meetings": 2, "bytes_sent": sent}
        assert found["gather"].tolist() == [[r, -r] for r in range(ranks)]
        for room, meetings in ((0, 2), (1, 2), (16, 1)):
            rows, numbers, met = found[f"rows, room {room}"]
            assert torch.equal(rows, torch.cat([own(r) for r in range(ranks)]))
            assert numbers.tolist() == [r for r in range(ranks) for _ in range(2 * r)]
            assert met == meetings
        part = [sum(2 * rank + i + r for r in range(ranks)) for i in range(2)]
        assert found["parts"].tolist() == part
        along = 0
        for r in range(ranks):
            along = 2 * along + r
        assert found["along"].tolist() == [along, along]
        assert found["first"] == "of 0"
        assert found["objects"] == [{"rank": r} for r in range(ranks)]


def refusals(rank: int, ranks: int) -> list[str]:
    exchange, said = Exchange(), []
    try:
        with exchange.together("the work"):
            if rank == 1:
                raise KeyError("lost")
    except (KeyError, RuntimeError) as error:
        said.append(f"{type(error).__name__}: {error}")
    try:
        exchange.check_equal({"seed": rank, "version": 1})
    except ValueError as error:
        said.append(str(error))
    try:
        exchange.from_first("the choice", lambda: 1 // 0)
    except (ZeroDivisionError, RuntimeError) as error:
        said.append(f"{type(error).__name__}: {error}")
    return said


def test_an_error_on_one_is_everybody_s(tmp_path: Path) -> None:
    first, second = on_ranks(2, tmp_path, refusals)
    assert first[0] == "RuntimeError: the work failed on rank 1: KeyError: 'lost'"
    assert second[0] == "KeyError: 'lost'"
    assert first[1] == second[1]
    assert "differ in seed (rank 0: 0, rank 1: 1)" in first[1]
    assert "version" not in first[1]
    assert first[2].startswith("ZeroDivisionError")
    assert second[2].startswith("RuntimeError: the choice failed on rank 0: ZeroDivisionError")


def test_alone_every_meeting_is_its_own_answer() -> None:
    exchange, value = Exchange(alone=True), torch.arange(3)
    assert torch.equal(exchange.maximum(value), value)
    assert torch.equal(exchange.sum(value), value)
    assert torch.equal(exchange.gather(value), value[None])
    assert torch.equal(exchange.gather_rows(value)[0], value)
    assert torch.equal(exchange.sum_of_parts(value, [3]), value)
    assert torch.equal(exchange.passed_along(value, lambda x: x + 1), value + 1)
    assert exchange.from_first("it", lambda: 5) == 5
    assert exchange.objects(7) == [7]
    exchange.check_equal({"anything": 1})
    with pytest.raises(KeyError), exchange.together("the work"):
        raise KeyError
    assert exchange.report() == {"world_size": 1, "meetings": 0, "bytes_sent": 0}
