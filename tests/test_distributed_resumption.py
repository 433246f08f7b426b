"""Several processes that are resumed end with the bits of those that nobody stopped."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs
from tests.helpers import images

N, RANKS, STOP = 60, 2, 3
CASES = {  # the objective, and whether the first process's state is that of all
    "one state": (lambda: acs.PGD(0.1, 0.05, 2, seed=1), True),
    "a state for each": (lambda: acs.ATTA(0.1, seed=1), False),
}


def fresh(objective):
    torch.manual_seed(7)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 5))
    model = DistributedDataParallel(net)
    coreset = acs.AdversarialCoreset(
        model, TensorDataset(*images(N)), objective(), "craig", 0.3, epochs=8, period=2, warm_start=0.5
    )
    return coreset, model, torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)


def train(parts, epochs):
    """The samples seen by this process, and the weights afterwards."""
    coreset, model, optimizer = parts
    loader = DataLoader(coreset.dataset, batch_size=8, sampler=coreset.sampler)
    seen = {}
    for epoch in epochs:
        coreset.step(epoch)
        seen[epoch] = []
        for x, y, index in loader:
            x_adv = coreset.objective.perturb(model, x, y, index=index)
            losses = coreset.objective.per_sample_loss(model, x, x_adv, y)
            optimizer.zero_grad()
            acs.weighted_mean(losses, coreset.weights(index)).backward()
            optimizer.step()
            seen[epoch] += index.tolist()
    return seen, [p.detach().clone() for p in model.parameters()]


def run_rank(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    found = {}
    for name, (objective, shared) in CASES.items():
        whole = train(parts := fresh(objective), parts[0].epochs)
        train(parts := fresh(objective), parts[0].epochs[:STOP])
        states = [part.state_dict() for part in parts]
        if shared:
            dist.broadcast_object_list(states, src=0)
        for part, state in zip(parts := fresh(objective), states, strict=True):
            part.load_state_dict(state)
        found[name] = {"whole": whole, "resumed": train(parts, parts[0].epochs[STOP:])}
    torch.save(found, f"{folder}/rank{rank}.pt")
    dist.barrier()  # else gloo's threads may still hold the last tensor when the interpreter ends
    dist.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_resumed_processes_end_with_the_same_bits(tmp_path):
    mp.spawn(run_rank, args=(str(tmp_path),), nprocs=RANKS)
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(RANKS)]
    for name in CASES:
        for rank in ranks:
            (seen, weights), (seen_later, weights_later) = rank[name]["whole"], rank[name]["resumed"]
            assert list(seen_later) == [6, 7]
            assert all(seen[epoch] == seen_later[epoch] for epoch in seen_later)
            assert all(torch.equal(a, b) for a, b in zip(weights, weights_later, strict=True))
        assert not set(ranks[0][name]["whole"][0][7]) & set(ranks[1][name]["whole"][0][7])
