"""The bytes and meetings that a selection counts, against what the sockets carried and against the model."""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from acs_fast._util.exchange import Exchange
from acs_fast.selection.distributed import Shard, facility_location
from benchmarks.distributed_model import PICKS_A_ROUND, Machine, Problem, per_class, table, together
from tests.helpers import make_gradients
from tests.selection.distributed.ranks import on_ranks

N, CLASSES, WIDTH = 4000, 10, 200
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


def measure(rank: int, ranks: int) -> dict[str, dict[str, Any]]:
    g = make_gradients(N, CLASSES, WIDTH)
    own = torch.arange(rank, N, ranks)
    labels = torch.randint(CLASSES, (N,), generator=torch.Generator().manual_seed(0))
    shard = Shard(g[own], own, labels[own])
    found = {}
    for name, options in {"per class": {}, "together": {"per_class": False}}.items():
        exchange, before = Exchange(), socket_bytes()
        coreset = facility_location(shard, 0.1, exchange=exchange, **options)
        exchange.maximum(torch.tensor(0))  # what was sent has arrived by now
        found[name] = {**coreset.stats["exchange"], "sockets": socket_bytes() - before, **coreset.stats}
    return found


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, dict[str, Any]]]]:
    return {ranks: on_ranks(ranks, tmp_path_factory.mktemp("ranks"), measure) for ranks in (2, 3)}


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("name", ["per class", "together"])
def test_counted_bytes_are_those_at_the_sockets(name: str, ranks: int, counted: Any) -> None:
    counts = [found[name] for found in counted[ranks]]
    assert sum(c["bytes_sent"] for c in counts) == pytest.approx(sum(c["sockets"] for c in counts), rel=0.1)


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_model_tells_bytes_and_meetings(ranks: int, counted: Any) -> None:
    problem = Problem(N, CLASSES, WIDTH, N // 10)
    by_class, by_all = (counted[ranks][0][name] for name in ("per class", "together"))
    cost = per_class(problem, ranks)
    assert by_class["meetings"] == cost.meetings
    assert by_class["bytes_sent"] == pytest.approx(cost.sent_bytes, rel=0.1)
    cost = together(problem, ranks, problem.budget / by_all["rounds"])
    assert by_all["meetings"] == pytest.approx(cost.meetings, rel=0.2)
    assert by_all["bytes_sent"] == pytest.approx(cost.sent_bytes, rel=0.2)
    assert by_all["meetings_saved"] > 2 * (problem.budget - by_all["rounds"]) > 0


def test_the_page_holds_the_table_of_the_model() -> None:
    page = Path(__file__).parents[2] / "docs" / "distributed.md"
    assert table(Machine(), PICKS_A_ROUND) in page.read_text()
