"""Whole training loops on several processes: the same picks as one process has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

import acs_fast as acs
from acs_fast._util.exchange import Exchange
from acs_fast.selection import PerBatch
from acs_fast.selection.distributed import Shard, fingerprint, select_across
from tests.helpers import ConvNet, images
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
    "craig, a source of one's own": acs.Craig(),
    "clusters, a source of one's own": acs.Clusters(count=20),
    "craig, vectors": acs.Craig(per_class=False),
    "clusters, vectors": acs.Clusters(count=20),
}


def fresh(name: str, rank: int) -> acs.AdversarialCoreset:
    torch.manual_seed(7)
    model, data = ConvNet(), TensorDataset(*images(N))
    for buffer in model.buffers():
        buffer += rank  # as DistributedDataParallel leaves the statistics
    objective = acs.PGD(0.1, 0.05, 2, seed=rank)  # the attacks of training draw other numbers on every rank
    source: Any = acs.AttackPass(model, data, objective, batch_size=32, show_progress=False)
    if name.endswith("own"):
        source = of_images
    elif name.endswith("vectors"):
        source = acs.Vectors(*data.tensors)
    return acs.AdversarialCoreset(
        model, data, objective, SELECTORS[name], 0.3, epochs=6, period=2, warm_start=0.0, gradients=source
    )


def of_images(seed: int) -> acs.Extraction:
    x, y = images(N)
    weights = torch.rand(x[0].numel(), 6, generator=torch.Generator().manual_seed(seed))
    return acs.Extraction(acs.LastLayerGradients.from_vectors(x.flatten(1) @ weights), y)


def select_by_loop(rank: int, ranks: int, checkpoint: Path) -> dict[str, Any]:
    """Two selections of every selector, as `AdversarialCoreset` makes them, and two more after a checkpoint."""
    found: dict[str, Any] = {}
    states = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else {}
    for name in SELECTORS:
        coreset = fresh(name, rank)
        before = [b.clone() for b in coreset.model.buffers()]
        found[name] = [coreset.step(epoch) for epoch in (0, 2)]
        assert all(map(torch.equal, coreset.model.buffers(), before))
        resumed = fresh(name, rank)
        resumed.load_state_dict(states.setdefault(name, coreset.state_dict()))
        found[name] += [resumed.step(epoch) for epoch in (3, 4)]
    if not checkpoint.exists():
        torch.save(states, checkpoint)
    return found


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_loop_selects_the_same_on_any_number_of_processes(ranks: int, tmp_path: Path) -> None:
    """From the start, and from one checkpoint, which one process has written."""
    wanted = select_by_loop(0, 1, tmp_path / "checkpoint.pt")
    for found in on_ranks(ranks, tmp_path, select_by_loop, tmp_path / "checkpoint.pt"):
        for name, coresets in wanted.items():
            assert [c is None for c in coresets] == [c is None for c in found[name]]
            for one, two in zip(coresets, found[name], strict=True):
                if one is None:
                    continue
                assert torch.equal(one.indices, two.indices), name
                assert torch.equal(one.weights, two.weights), name
                assert torch.equal(one.gains, two.gains), name


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
