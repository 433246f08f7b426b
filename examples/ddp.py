"""DistributedDataParallel: `torchrun --nproc-per-node 2 examples/ddp.py`.

The coreset asks torch.distributed for the number of processes; each sees its share of the samples.
"""

import os

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs


def main() -> None:
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    torch.manual_seed(0)
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.images[:600, None] / 16.0).float(), torch.tensor(digits.target[:600]))
    net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10)).to(device)
    model = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)

    objective = acs.PGD(eps=0.1, alpha=0.025, steps=5, seed=dist.get_rank())
    coreset = acs.AdversarialCoreset(model, data, objective, "craig", 0.5, epochs=6, period=2)
    loader = DataLoader(coreset.dataset, batch_size=32, sampler=coreset.sampler)
    for epoch in coreset.epochs:
        coreset.step(epoch)
        seen = torch.zeros((), device=device)
        for x, y, index in loader:
            x, y, index = x.to(device), y.to(device), index.to(device)
            x_adv = objective.perturb(model, x, y)
            loss = acs.weighted_mean(objective.per_sample_loss(model, x, x_adv, y), coreset.weights(index))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(index)
        dist.all_reduce(seen)
        if dist.get_rank() == 0:
            print(f"epoch {epoch}: loss {loss:.3f}, {int(seen)} samples on {dist.get_world_size()} processes")
    dist.barrier()  # a process that ends while gloo's threads still hold its last tensor is aborted by Python < 3.14
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
