"""The plan: which samples each process takes, and which stay with it."""

import pytest
import torch
from torch.utils.data import TensorDataset

import acs_fast as acs
from acs_fast.data import Plan

N = 100


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
