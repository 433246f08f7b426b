"""Data sets that number their samples, and samplers that follow the plan."""

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, TensorDataset

import acs_fast as acs
from acs_fast.data import CoresetBatchSampler, CoresetSampler, IndexedDataset, Plan, replicas
from tests.gradients.test_attack_pass import Augmented

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


def test_index_is_added_to_every_form():
    data = TensorDataset(torch.arange(4.0), torch.arange(4))
    x, y, index = IndexedDataset(data)[2]
    assert (float(x), int(y), index) == (2.0, 2, 2)
    x, y, index = IndexedDataset(data)[[3, 1]]
    assert index.tolist() == y.tolist() == [3, 1]
    assert IndexedDataset([{"x": 1, "y": 0}])[0] == {"x": 1, "y": 0, "index": 0}
    assert [i for _, _, i in IndexedDataset(data).__getitems__([2, 0])] == [2, 0]


def test_batched_reads_are_passed_on():
    class Batched(TensorDataset):
        calls = 0

        def __getitems__(self, indices):
            self.calls += 1
            return [self[i] for i in indices]

    data = Batched(torch.arange(6.0), torch.arange(6))
    loader = DataLoader(IndexedDataset(data), batch_size=3)
    assert [index.tolist() for _, _, index in loader] == [[0, 1, 2], [3, 4, 5]]
    assert data.calls == 2


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


@pytest.mark.parametrize("n", [1, 2, 10, 11])
def test_settled_samples_are_shared_evenly(n):
    for epoch in range(3):
        plans = [Plan(n, 0, 3, rank, settled=True) for rank in range(3)]
        for plan in plans:
            plan.begin(epoch, "full", None)
        shares = [plan.samples().tolist() for plan in plans]
        assert {len(s) for s in shares} == {-(-n // 3)}
        assert set().union(*shares) == set(range(n))


def test_settled_samples_come_back_to_one_process_in_another_order():
    plan = Plan(N, 0, 4, 1, settled=True)
    epochs = []
    for epoch in range(3):
        plan.begin(epoch, "full", None)
        epochs.append(plan.samples().tolist())
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])
    assert epochs[0] != epochs[1]


def age_of_what_is_remembered(ranks, settled, n=800, epochs=24):
    """Mean number of epochs since a process last attacked a sample that it reuses; a third is attacked, in turn."""
    ages = []
    for rank in range(ranks):
        plan, last = Plan(n, 0, ranks, rank, settled), torch.full((n,), -1)
        turn = torch.randperm(n, generator=torch.Generator().manual_seed(0)) % 3
        for epoch in range(epochs):
            members = (turn == epoch % 3).nonzero().flatten()
            plan.begin(epoch, "selective", acs.Coreset(members, torch.ones(len(members)), torch.zeros(len(members))))
            samples = plan.batched_samples(10)
            strong = plan.contains(samples) | (last[samples] < 0)
            ages.append(epoch - last[samples[~strong]])
            last[samples[strong]] = epoch
    return float(torch.cat(ages).double().mean())


def test_what_a_process_remembers_of_settled_samples_is_as_fresh_as_with_one_process():
    alone = age_of_what_is_remembered(1, settled=False)
    assert age_of_what_is_remembered(8, settled=False) > 3 * alone
    assert age_of_what_is_remembered(8, settled=True) < 1.3 * alone


def test_samples_are_settled_where_the_objective_remembers_them():
    data = TensorDataset(torch.rand(40, 1, 2, 2), torch.arange(40) % 2)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    remembers = {acs.ATTA(0.1): True, acs.EpsWarmup(acs.ATTA(0.1), 9): True, acs.PGD(0.1, 0.1, 1): False}
    for objective, stay in remembers.items():
        coreset = acs.AdversarialCoreset(model, data, objective, "random", 1.0, epochs=4, num_replicas=2, rank=1)
        epochs = []
        for epoch in (0, 1):
            coreset.sampler.set_epoch(epoch)
            epochs.append(set(coreset.sampler))
        assert (epochs[0] == epochs[1]) == stay


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


def test_bad_datasets_are_named():
    with pytest.raises(TypeError, match="dataset must be map-style"):
        IndexedDataset(iter([]))
    with pytest.raises(ValueError, match="dataset must hold at least one sample"):
        IndexedDataset([])
    with pytest.raises(TypeError, match="dataset must give"):
        IndexedDataset([3])[0]
