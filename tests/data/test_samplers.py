"""Samplers that follow the plan."""

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

import acs_fast as acs
from acs_fast.data import CoresetBatchSampler, CoresetSampler, IndexedDataset, Plan, replicas
from tests.helpers import Augmented

N = 100


def samplers(plan, batch_size=4):
    """Both samplers of a plan whose epochs nobody begins."""
    data = IndexedDataset(range(plan.n))
    return CoresetSampler(data, plan, no_epoch), CoresetBatchSampler(data, plan, no_epoch, batch_size)


def no_epoch(number):
    raise AssertionError("an epoch was begun")


def begun(indices, seed=0, epoch=0, num_replicas=1, rank=0, batches=None):
    plan = Plan(N, seed, num_replicas, rank)
    size = len(indices)
    plan.begin(epoch, "coreset", acs.Coreset(indices, torch.ones(size), torch.zeros(size), {}, batches))
    return plan


def test_order_depends_on_seed_and_epoch_only():
    def order(seed, epoch):
        return list(samplers(begun(torch.arange(50) * 2, seed, epoch))[0])

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3) != order(1, 3)
    assert sorted(order(0, 3)) == list(range(0, 100, 2))


@pytest.mark.parametrize("n", [1, 2, 10, 11])
def test_ranks_share_everything_evenly(n):
    shares = []
    for rank in range(3):
        single, batched = samplers(begun(torch.arange(n), num_replicas=3, rank=rank))
        shares.append(list(single))
        assert len(shares[-1]) == len(single) == sum(map(len, batched))
        assert len(batched) == len(list(batched))
    assert {len(s) for s in shares} == {-(-n // 3)}
    assert set().union(*shares) == set(range(n))


def test_batches_stay_together():
    batches = [torch.tensor([4, 0, 7]), torch.tensor([1, 2, 9]), torch.tensor([5])]
    single, batched = samplers(begun(torch.cat(batches), batches=batches), batch_size=3)
    assert sorted(batched) == [[1, 2, 9], [4, 0, 7], [5]]
    assert len(batched) == 3
    assert sorted(single) == [0, 1, 2, 4, 5, 7, 9]


def test_a_skipped_epoch_holds_a_few_samples():
    plan = Plan(1000, 0, 1, 0)
    plan.begin(3, "skipped", None)
    single, batched = samplers(plan)
    assert len(single) == len(set(single)) == 128
    assert len(batched) == 32


@pytest.mark.parametrize("num_replicas", [1, 2])
def test_selective_batches_hold_members_or_none(num_replicas):
    """18 of 60 samples in mini-batches of 4: four of members and ten of the rest, then what is left of both."""
    kinds, seen = [], []
    for rank in range(num_replicas):
        plan = Plan(60, 0, num_replicas, rank)
        members = torch.randperm(60, generator=torch.Generator().manual_seed(1))[:18]
        plan.begin(4, "selective", acs.Coreset(members, torch.ones(18), torch.zeros(18)))
        single, batched = samplers(plan)
        batches = list(batched)
        assert len(batches) == len(batched)
        assert sum(map(len, batches)) == len(single) == 60 // num_replicas
        masks = [torch.isin(torch.tensor(b), members) for b in batches]
        whole = 4 // num_replicas + (60 - 18) // 4 // num_replicas
        assert all(len(set(m.tolist())) == 1 for m in masks[:whole])
        kinds.append([bool(m[0]) for m in masks[:whole]])
        seen += [i for batch in batches for i in batch]
    assert sorted(seen) == list(range(60))
    assert all(k == kinds[0] for k in kinds)  # all processes have members at the same time
    assert sum(kinds[0]) == 18 // num_replicas // 4
    assert kinds[0] != sorted(kinds[0])
    assert kinds[0] != sorted(kinds[0], reverse=True)


def test_samplers_are_what_frameworks_look_for():
    single, batched = samplers(Plan(N, 0, 2, 1))
    for sampler in (single, batched):
        assert isinstance(sampler, DistributedSampler)
        assert (sampler.num_replicas, sampler.rank) == (2, 1)
    assert (batched.batch_size, batched.drop_last) == (4, False)
    assert not isinstance(single, BatchSampler)


def test_replicas_default_to_one_process():
    assert replicas(None, None) == (1, 0)
    assert replicas(3, 2) == (3, 2)
    with pytest.raises(ValueError, match="rank must be below num_replicas, 2; got 2"):
        replicas(2, 2)


def test_ordinary_loader():
    single, _ = samplers(begun(torch.tensor([5, 1, 3])))
    loader = DataLoader(IndexedDataset(Augmented(8)), batch_size=2, sampler=single)
    seen = torch.cat([index for _, _, index in loader])
    assert sorted(seen.tolist()) == [1, 3, 5]
    assert len(loader) == 2
