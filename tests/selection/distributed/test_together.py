"""Whole training loops on several processes: the same picks as one process has, and faults that are named."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.utils.data import TensorDataset

import acs_fast as acs
from acs_fast._util.exchange import Exchange
from acs_fast.selection import PerBatch
from acs_fast.selection.distributed import Shard, facility_location, fingerprint, select_across
from tests.helpers import ConvNet, images, make_gradients
from tests.selection.distributed.ranks import on_ranks

N = 300
SELECTORS = {
    "craig": acs.Craig(),
    "craig, one problem, equal weights": acs.Craig(per_class=False, weights="equal"),
    "craig, batches": PerBatch(acs.Craig(), 16),
    "gradmatch": acs.GradMatch(),
    "gradmatch, batches": PerBatch(acs.GradMatch(), 16),
    "clusters, redrawn": acs.Clusters(),
    "random": acs.Random(),
}


def select_by_loop(rank: int, ranks: int) -> dict[str, Any]:
    """Two selections of every selector, as `AdversarialCoreset` makes them."""
    found: dict[str, Any] = {}
    for name, selector in SELECTORS.items():
        torch.manual_seed(7)
        model, data = ConvNet(), TensorDataset(*images(N))
        objective = acs.PGD(0.1, 0.05, 2, seed=rank)  # the attacks of training draw other numbers on every rank
        source = acs.AttackPass(model, data, objective, batch_size=32, show_progress=False)
        coreset = acs.AdversarialCoreset(
            model, data, objective, selector, 0.3, epochs=4, period=2, warm_start=0.0, gradients=source
        )
        found[name] = [coreset.step(epoch) for epoch in (0, 2)]
    return found


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_loop_selects_the_same_on_any_number_of_processes(ranks: int, tmp_path: Path) -> None:
    wanted = select_by_loop(0, 1)
    for found in on_ranks(ranks, tmp_path, select_by_loop):
        for name, coresets in wanted.items():
            for one, two in zip(coresets, found[name], strict=True):
                assert torch.equal(one.indices, two.indices), name
                assert torch.equal(one.weights, two.weights), name
                assert torch.equal(one.gains, two.gains), name


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


def watch_trainings(rank: int, ranks: int) -> list[acs.Coreset]:
    """Each rank trains on half of the samples, the halves changing from epoch to epoch."""
    torch.manual_seed(7)
    model, (x, y) = ConvNet().eval(), images(N)
    objective = acs.Vanilla()
    passes, found = acs.TrainingPasses(model, objective), []
    exchange = Exchange()
    for epoch in range(2):
        order = torch.randperm(N, generator=torch.Generator().manual_seed(epoch))
        for index in order[rank::ranks].split(50):
            with passes.observe(index, y[index]):
                objective.per_sample_loss(model, x[index], x[index], y[index])
        taken, index = passes.shard(0, exchange)
        shard = Shard(taken.gradients, index, taken.labels)
        found.append(select_across(acs.Craig(), shard, N, 60, 0, exchange))
    return found


def test_training_passes_are_taken_from_whoever_saw_a_sample_last(tmp_path: Path) -> None:
    wanted = watch_trainings(0, 1)
    for found in on_ranks(2, tmp_path, watch_trainings):
        for one, two in zip(wanted, found, strict=True):
            assert len(one.indices) == len(two.indices) == 60
            assert len(set(one.indices.tolist()) & set(two.indices.tolist())) > 50  # batches round differently


def die_or_survive(rank: int, ranks: int, folder: str) -> None:
    dist.init_process_group("gloo", f"file://{folder}/store", timedelta(seconds=20), ranks, rank)
    g = make_gradients(3000, 5, 20)
    own = torch.arange(rank, 3000, ranks)
    exchange = Exchange()
    if rank == 1:
        gather, met = exchange.gather, []

        def last_words(value: torch.Tensor) -> torch.Tensor:
            met.append(value)
            if len(met) == 12:
                os.kill(os.getpid(), signal.SIGKILL)
            return gather(value)

        exchange.gather = last_words  # type: ignore[method-assign]
    start, message = time.perf_counter(), "nothing happened"
    try:
        facility_location(Shard(g[own], own), 1500, per_class=False, exchange=exchange)
    except RuntimeError as error:
        message = str(error)
    torch.save((message, time.perf_counter() - start), f"{folder}/{rank}.pt")
    os._exit(0)


def test_a_killed_rank_ends_the_others_with_a_clear_error(tmp_path: Path) -> None:
    context = mp.get_context("spawn")
    ranks = [context.Process(target=die_or_survive, args=(r, 3, str(tmp_path))) for r in range(3)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(60)
    assert ranks[1].exitcode == -signal.SIGKILL
    for rank in (0, 2):
        message, seconds = torch.load(tmp_path / f"{rank}.pt")
        assert f"rank {rank} of 3 waited in vain" in message
        assert "last checkpoint" in message
        assert seconds < 30


def test_a_fingerprint_ignores_what_is_random_and_sees_what_is_not() -> None:
    x, y = images(20)
    plain = fingerprint(TensorDataset(x, y))
    assert plain == fingerprint(TensorDataset(x.clone(), y.clone()))
    assert plain != fingerprint(TensorDataset(x, y.flip(0)))
    noisy = [(lambda i: (x[i] + torch.rand(1), y[i])) for _ in range(2)]
    one, two = (fingerprint(_Reading(read)) for read in noisy)
    assert one == two


class _Reading:
    def __init__(self, read: Any) -> None:
        self._read = read

    def __len__(self) -> int:
        return 20

    def __getitem__(self, i: int) -> Any:
        return self._read(i)
