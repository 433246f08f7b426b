"""A training loop as users write it, for tests that look at what it visits."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs
from tests.helpers import ConvNet, images

N = 60


class CountingPGD(acs.PGD):
    """Counts the images that it attacks."""

    def perturb(self, model, x, y, **options):
        self._attacked = self.attacked + len(x)
        return super().perturb(model, x, y, **options)

    @property
    def attacked(self):
        return vars(self).get("_attacked", 0)


def build(selector="craig", objective=None, source=None, **options):
    """A coreset of 60 images; `source` makes the gradient source from (model, data, objective)."""
    torch.manual_seed(7)
    model, data = ConvNet(), TensorDataset(*images(N))
    objective = acs.PGD(0.1, 0.05, 2, seed=1) if objective is None else objective
    settings = {"fraction": 0.3, "epochs": 12, "period": 2, "warm_start": 0.4, **options}
    if source is not None:
        settings["gradients"] = source(model, data, objective)
    return acs.AdversarialCoreset(model, data, objective, selector, **settings)


def sgd(coreset):
    return torch.optim.SGD(coreset.model.parameters(), 0.05, momentum=0.9)


def train(coreset, epochs, optimizer, observe=None, workers=0):
    """Train; returns the samples visited by epoch."""
    options = {"num_workers": workers, "persistent_workers": workers > 0}
    loader = DataLoader(coreset.dataset, batch_size=16, sampler=coreset.sampler, **options)
    visited = {}
    for epoch in epochs:
        coreset.step(epoch)
        coreset.model.train()
        visited[epoch] = []
        for x, y, index in loader:
            torch.manual_seed(epoch)  # of dropout: a loader draws from the global state when its workers start
            x_adv = coreset.objective.perturb(coreset.model, x, y)
            with nullcontext() if observe is None else observe(index, y):
                losses = coreset.objective.per_sample_loss(coreset.model, x, x_adv, y)
            loss = acs.weighted_mean(losses, coreset.weights(index))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            visited[epoch] += index.tolist()
    return visited
