"""Ranks that differ, fail, die or hang: every rank ends with an error that says so."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

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
    torch.manual_seed(rank)
    coreset = acs.AdversarialCoreset(
        ConvNet(), TensorDataset(x, y), acs.PGD(0.1, 0.05, 2), fraction=0.3, epochs=4, warm_start=0.0, seed=rank,
        labels=y + rank,
    )  # fmt: skip
    with pytest.raises(ValueError, match="ranks must agree") as refused:
        coreset.step(0)
    return str(refused.value)


def test_ranks_that_differ_are_refused_by_name(tmp_path: Path) -> None:
    for message in on_ranks(2, tmp_path, differ):
        assert "seed (rank 0: 0, rank 1: 1)" in message
        for name in ("data", "model", "labels"):
            assert f"{name} (rank 0: " in message


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


class Failing:
    """A selector, a gradient source, a target and a data set that fail on one rank."""

    needs_gradients, lasts = False, "epoch"

    def __init__(self, failing: bool) -> None:
        self.failing = failing

    def __repr__(self) -> str:
        return "Failing()"

    def select(self, *_: Any) -> acs.Coreset:
        return self(0)

    def __call__(self, seed: int) -> Any:
        raise ValueError("out of luck") if self.failing else RuntimeError("nobody else was to be asked")

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> Any:
        return images(N)[0][i], self(0) if self.failing else images(N)[1][i]


class Redrawn(acs.Craig):
    lasts = "epoch"


def loops(rank: int) -> dict[str, tuple[int, Callable[[], acs.AdversarialCoreset]]]:
    """Which rank fails, and what fails at the first selection."""
    torch.manual_seed(0)
    model, data, objective, y = ConvNet(), TensorDataset(*images(N)), acs.Vanilla(), images(N)[1]
    first, last = Failing(rank == 0), Failing(rank == 1)

    def loop(selector: Any, data: Any = data, **options: Any) -> acs.AdversarialCoreset:
        options = {"fraction": 0.3, "epochs": 4, "warm_start": 0.0, **options}
        return acs.AdversarialCoreset(model, data, objective, selector, **options)

    class Here:
        def __call__(self, seed: int) -> Any:
            return last(seed) if rank == 1 else acs.AttackPass(model, data, objective, show_progress=False)(seed)

    return {
        "the selection": (0, lambda: loop(first)),
        "the target pass": (0, lambda: loop(acs.GradMatch(target=first))),
        "taking the gradients": (1, lambda: loop(Redrawn(), gradients=Here())),
        "comparing the processes": (1, lambda: loop(acs.Random(), last, labels=y)),
    }


def fail_in_a_loop(rank: int, ranks: int) -> dict[str, str]:
    found = {}
    for name, (_, loop) in loops(rank).items():
        with pytest.raises((ValueError, RuntimeError)) as failed:
            loop().step(0)
        found[name] = str(failed.value)
    return found


def test_an_error_of_a_loop_is_raised_on_all_at_once(tmp_path: Path) -> None:
    every = on_ranks(2, tmp_path, fail_in_a_loop)
    for name, (failing, _) in loops(0).items():
        assert every[failing][name] == "out of luck", name
        assert every[1 - failing][name] == f"{name} failed on rank {failing}: ValueError: out of luck"


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
