"""Accelerate: prepare the model and the optimizer, not the loader, whose sampler already gives each process its share.

`accelerate launch examples/accelerate_loop.py`, or `--mixed-precision bf16` for the same in bfloat16.
"""

import argparse

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mixed-precision", default="no", choices=["no", "bf16"])
    accelerator = Accelerator(mixed_precision=parser.parse_args().mixed_precision)
    torch.manual_seed(0)
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.images[:600, None] / 16.0).float(), torch.tensor(digits.target[:600]))
    net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10))
    model, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), 0.05, momentum=0.9))

    objective = acs.PGD(eps=0.1, alpha=0.025, steps=5, seed=accelerator.process_index)
    coreset = acs.AdversarialCoreset(model, data, objective, "craig", 0.5, epochs=6, period=2)
    accelerator.register_for_checkpointing(coreset)
    loader = DataLoader(coreset.dataset, batch_size=64, sampler=coreset.sampler)
    for epoch in coreset.epochs:
        coreset.step(epoch)
        for x, y, index in loader:
            x, y, index = (t.to(accelerator.device) for t in (x, y, index))
            x_adv = objective.perturb(model, x, y)
            loss = acs.weighted_mean(objective.per_sample_loss(model, x, x_adv, y), coreset.weights(index))
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
        accelerator.print(f"epoch {epoch}: loss {loss:.3f}")


if __name__ == "__main__":
    main()
