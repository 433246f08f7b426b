"""A selector of one's own: GLISTER's greedy choice by a trusted set (Killamsetty et al., AAAI 2021).

A sample is worth what a step along its gradient gains on trusted samples: the inner product of the two gradients. In
rounds, the best samples of every class are taken and the trusted gradient moves on by a Taylor step.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs


class Glister:
    """Samples whose gradients agree most with a trusted set's.

    Args:
        trusted: a gradient source over the trusted set.
        rounds: how often the trusted gradient is moved on.
        step: how far, relative to the mean gradient of what was taken.
    """

    needs_gradients, lasts = True, "period"

    def __init__(self, trusted: acs.AttackPass, rounds: int = 8, step: float = 0.2) -> None:
        self.trusted, self.rounds, self.step = trusted, rounds, step

    def select(self, n, budget, gradients, labels, seed):
        target = self.trusted(seed).gradients
        wanted = target.dense().mean(0)
        rows = gradients.dense()
        taken = torch.zeros(n, dtype=torch.bool)
        quota = torch.bincount(labels) * budget / n
        for i in range(self.rounds):
            for label in labels.unique():
                free = ((labels == label) & ~taken).nonzero().flatten()
                missing = int(quota[label] * (i + 1) / self.rounds) - int(taken[labels == label].sum())
                best = (rows[free] @ wanted).topk(min(max(0, missing), len(free))).indices
                taken[free[best]] = True
            if bool(taken.any()):
                wanted = wanted - self.step * rows[taken].mean(0)
        indices = taken.nonzero().flatten()
        return acs.Coreset(indices, torch.ones(len(indices)), torch.zeros(len(indices)))


def main() -> None:
    torch.manual_seed(0)
    digits = load_digits()
    x, y = torch.tensor(digits.images[:, None] / 16.0).float(), torch.tensor(digits.target)
    data, trusted = TensorDataset(x[:600], y[:600]), TensorDataset(x[600:800], y[600:800])
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 36, 10))
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)

    objective = acs.PGD(eps=0.1, alpha=0.025, steps=5, seed=0)
    selector = Glister(acs.AttackPass(model, trusted, objective))
    coreset = acs.AdversarialCoreset(model, data, objective, selector, 0.5, epochs=6, period=2)
    loader = DataLoader(coreset.dataset, batch_size=64, sampler=coreset.sampler)
    for epoch in coreset.epochs:
        coreset.step(epoch)
        for x, y, index in loader:
            x_adv = objective.perturb(model, x, y)
            loss = acs.weighted_mean(objective.per_sample_loss(model, x, x_adv, y), coreset.weights(index))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss:.3f}")


if __name__ == "__main__":
    main()
