"""The bytes and meetings that a selection counts, against what the sockets carried and against the model."""

from __future__ import annotations

import os
import re
import socket
import stat
import struct
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor

from acs_fast._util.exchange import Exchange
from acs_fast.selection.distributed import Shard, covering, facility_location
from acs_fast.selection.distributed.columns import ComputedColumns
from benchmarks.distributed_model import PAGE, PICKS_A_ROUND, Machine, Problem, per_class, table, together
from tests.helpers import make_gradients
from tests.selection.distributed.ranks import on_ranks

N, CLASSES, WIDTH = 4000, 10, 200
WAYS: dict[str, dict[str, Any]] = {
    "per class": {},
    "together": {"per_class": False},
    "matrix-free": {"per_class": False, "memory": 1},
}
RANKS = (2, 3, 4)
BYTES_SENT_AT = 120  # tcpi_bytes_acked in Linux's tcp_info


def socket_bytes() -> int:
    """What this process has sent over all its TCP connections and the other end has acknowledged."""
    total = 0
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                continue
            with socket.socket(fileno=os.dup(fd)) as end:
                info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        except OSError:
            continue
        total += struct.unpack_from("Q", info, BYTES_SENT_AT)[0] if len(info) > BYTES_SENT_AT else 0
    return total


class Watched(ComputedColumns):
    """Columns that count the samples which pay less, over a selection."""

    asked = 0

    def gain_changes(self, samples: Tensor, *others: Any) -> Tensor:
        Watched.asked += len(samples)
        return super().gain_changes(samples, *others)


def measure(rank: int, ranks: int) -> dict[str, dict[str, Any]]:
    g = make_gradients(N, CLASSES, WIDTH)
    own = torch.arange(rank, N, ranks)
    labels = torch.randint(CLASSES, (N,), generator=torch.Generator().manual_seed(0))
    shard = Shard(g[own], own, labels[own])
    found = {}
    for name, options in WAYS.items():
        exchange, before = Exchange(), socket_bytes()
        with mock.patch.object(covering, "ComputedColumns", Watched):
            coreset = facility_location(shard, 0.1, exchange=exchange, **options)
        exchange.maximum(torch.tensor(0))  # what was sent has arrived by now
        counts = {"sockets": socket_bytes() - before, "touched": Watched.asked / N - 1}  # all are asked once before
        exchange.maximum(torch.tensor(0))  # who leaves closes sockets of the others: not before all have looked
        found[name] = {**coreset.stats["exchange"], **counts, **coreset.stats}
    return found


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, dict[str, Any]]]]:
    return {ranks: on_ranks(ranks, tmp_path_factory.mktemp("ranks"), measure) for ranks in RANKS}


@pytest.mark.parametrize("ranks", RANKS)
@pytest.mark.parametrize("name", WAYS)
def test_counted_bytes_are_those_at_the_sockets(name: str, ranks: int, counted: Any) -> None:
    counts = [found[name] for found in counted[ranks]]
    assert sum(c["bytes_sent"] for c in counts) == pytest.approx(sum(c["sockets"] for c in counts), rel=0.1)


@pytest.mark.parametrize("ranks", RANKS)
def test_the_model_tells_bytes_and_meetings(ranks: int, counted: Any) -> None:
    problem = Problem(N, CLASSES, WIDTH, N // 10)
    by_class = counted[ranks][0]["per class"]
    cost = per_class(problem, ranks)
    assert by_class["meetings"] == cost.meetings
    assert by_class["bytes_sent"] == pytest.approx(cost.sent_bytes, rel=0.1)
    for name, dense in (("together", True), ("matrix-free", False)):
        by_all = counted[ranks][0][name]
        assert by_all["path"] == ("dense" if dense else "matrix-free")
        touched = {} if dense else {"touched": by_all["touched"]}
        cost = together(problem, ranks, problem.budget / by_all["rounds"], dense=dense, **touched)
        assert by_all["meetings"] == pytest.approx(cost.meetings, rel=0.2)
        assert by_all["bytes_sent"] == pytest.approx(cost.sent_bytes, rel=0.1)
        assert by_all["meetings_saved"] > 2 * (problem.budget - by_all["rounds"]) > 0


def test_the_page_holds_the_table_of_the_model() -> None:
    assert table(Machine(), PICKS_A_ROUND) in PAGE.read_text()


def test_the_page_says_how_many_meetings_are_saved(counted: Any) -> None:
    said = re.search(r"([\d,]+) picks took two processes ([\d,]+) rounds.*?([\d,]+) more", PAGE.read_text(), re.DOTALL)
    assert said is not None
    picks, *counts = (int(number.replace(",", "")) for number in said.groups())
    by_all = counted[2][0]["together"]
    print(f"{picks} picks in {by_all['rounds']} rounds, {by_all['meetings_saved']} meetings saved")
    assert picks == N // 10
    assert counts == pytest.approx([by_all["rounds"], by_all["meetings_saved"]], rel=0.2)
