"""Training in several processes: all of them train on the same coreset, each on its share."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs
from tests.helpers import ConvNet, images

N, RANKS, EPOCHS = 60, 2, 8
SELECTORS = {"craig": "craig", "clusters": acs.Clusters(count=8), "random": "random"}


def run_rank(rank, folder):
    """Train as one of the ranks, and save what it selected and saw."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    torch.save({name: train(rank, name) for name in SELECTORS}, f"{folder}/rank{rank}.pt")
    dist.barrier()  # else gloo's threads may still hold the last tensor when the interpreter ends
    dist.destroy_process_group()


def train(rank, selector):
    torch.manual_seed(7)
    model = DistributedDataParallel(ConvNet())
    objective = acs.PGD(0.1, 0.05, 2, seed=rank)  # as in practice: noise differs between the ranks
    coreset = acs.AdversarialCoreset(
        model, TensorDataset(*images(N)), objective, SELECTORS[selector], 0.3, epochs=EPOCHS, period=2,
        warm_start=0.5,
    )  # fmt: skip
    loader = DataLoader(coreset.dataset, batch_size=8, sampler=coreset.sampler)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    found = {}
    for epoch in coreset.epochs:
        coreset.step(epoch)
        model.train()
        seen = []
        for x, y, index in loader:
            x_adv = objective.perturb(model, x, y)
            loss = acs.weighted_mean(objective.per_sample_loss(model, x, x_adv, y), coreset.weights(index))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += index.tolist()
        chosen = coreset.current and (coreset.current.indices, coreset.current.weights)
        found[epoch] = {"seen": seen, "chosen": chosen}
    return found


@pytest.mark.filterwarnings("ignore")
def test_ranks_train_on_shares_of_one_coreset(tmp_path):
    mp.spawn(run_rank, args=(str(tmp_path),), nprocs=RANKS)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(RANKS))
    for name in SELECTORS:
        coresets = 0
        for epoch, one in first[name].items():
            two = second[name][epoch]
            if one["chosen"] is None:
                assert sorted(one["seen"] + two["seen"]) == list(range(N))
                continue
            for a, b in zip(one["chosen"], two["chosen"], strict=True):
                assert torch.equal(a, b)
            assert sorted(one["seen"] + two["seen"]) == sorted(one["chosen"][0].tolist())
            coresets += 1
        assert coresets == 4
