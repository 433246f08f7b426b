"""Ranks that differ, fail, die or hang: every rank ends with an error that says so."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.utils.data import TensorDataset

import acs_fast as acs
from acs_fast import _version
from acs_fast._util.exchange import Exchange
from acs_fast.selection.distributed import Shard, facility_location, gradient_matching
from tests.helpers import ConvNet, images, make_gradients
from tests.selection.distributed.ranks import on_ranks

N = 300
TIMEOUT_S = 5


def differ(rank: int, ranks: int) -> str:
    x, y = images(N, seed=rank)
    coreset = acs.AdversarialCoreset(
        ConvNet(), TensorDataset(x, y), acs.PGD(0.1, 0.05, 2), fraction=0.3, epochs=4, warm_start=0.0, seed=rank
    )
    with pytest.raises(ValueError, match="ranks must agree") as refused:
        coreset.step(0)
    return str(refused.value)


def test_ranks_that_differ_are_refused_by_name(tmp_path: Path) -> None:
    for message in on_ranks(2, tmp_path, differ):
        assert "seed (rank 0: 0, rank 1: 1)" in message
        assert "data (rank 0: " in message


def fail_on_one(rank: int, ranks: int) -> str:
    g = make_gradients(40)
    own = torch.arange(rank, 40, ranks)
    factors = g[own] if rank else acs.LastLayerGradients(g[own].residuals * torch.nan, g[own].features)
    with pytest.raises((ValueError, RuntimeError)) as failed:
        facility_location(Shard(factors, own), 10, per_class=False)
    return str(failed.value)


def test_an_error_on_one_rank_is_raised_on_all(tmp_path: Path) -> None:
    first, second = on_ranks(2, tmp_path, fail_on_one)
    assert first.startswith("gradients")
    assert "failed on rank 0" in second
    assert first in second


def have_another_version(rank: int, ranks: int) -> str:
    _version.__version__ = f"0.0.{rank}"
    own = torch.arange(rank, 40, ranks)
    with pytest.raises(ValueError, match="ranks must agree") as refused:
        facility_location(Shard(make_gradients(40)[own], own), 10, per_class=False)
    return str(refused.value)


def test_ranks_of_different_versions_are_refused_by_name(tmp_path: Path) -> None:
    for message in on_ranks(2, tmp_path, have_another_version):
        assert message.endswith("they differ in acs_fast (rank 0: '0.0.0', rank 1: '0.0.1')")


SELECTIONS: dict[str, tuple[Callable[..., acs.Coreset], int]] = {  # and the gathering in which the last rank ends
    "CRAIG": (lambda shard, **e: facility_location(shard, 1500, per_class=False, **e), 12),
    "CRAIG by class": (lambda shard, **e: facility_location(shard, 1500, **e), 2),
    "GradMatch": (lambda shard, **e: gradient_matching(shard, 200, per_class=False, **e), 12),
}


def end_or_survive(rank: int, ranks: int, folder: str, name: str, how: int) -> None:
    dist.init_process_group("gloo", f"file://{folder}/store", timedelta(seconds=TIMEOUT_S), ranks, rank)
    select, gathering = SELECTIONS[name]
    own = torch.arange(rank, 3000, ranks)
    shard = Shard(make_gradients(3000, 5, 20)[own], own, own % 7)
    exchange = Exchange()
    gather, met = exchange.gather, []

    def last_words(value: torch.Tensor) -> torch.Tensor:
        met.append(value)
        if rank == ranks - 1 and len(met) == gathering:
            os.kill(os.getpid(), how)
        return gather(value)

    exchange.gather = last_words  # type: ignore[method-assign]
    start, message = time.perf_counter(), "nothing happened"
    try:
        select(shard, exchange=exchange)
    except RuntimeError as error:
        message = str(error)
    torch.save((message, time.perf_counter() - start), f"{folder}/{rank}.pt")
    os._exit(0)


@pytest.mark.parametrize(("name", "how"), [*((name, signal.SIGKILL) for name in SELECTIONS), ("CRAIG", signal.SIGSTOP)])
def test_a_rank_that_dies_or_hangs_ends_the_others_with_a_clear_error(name: str, how: int, tmp_path: Path) -> None:
    context = mp.get_context("spawn")
    ranks = [context.Process(target=end_or_survive, args=(r, 3, str(tmp_path), name, how)) for r in range(3)]
    for process in ranks:
        process.start()
    for process in ranks[:2]:
        process.join(60)
    ranks[2].kill()
    ranks[2].join()
    for rank in (0, 1):
        message, seconds = torch.load(tmp_path / f"{rank}.pt")
        assert f"rank {rank} of 3 waited in vain" in message
        assert "last checkpoint" in message
        assert seconds < 3 * TIMEOUT_S
