"""Models whose robust accuracy is known exactly, and images for them."""

from __future__ import annotations

import math

import torch
from torch import nn

from acs_fast.evaluation import evaluate

CPU = torch.device("cpu")


class Threshold(nn.Module):
    """Class 1 where the mean pixel exceeds one half: the exact robust accuracy is known."""

    def forward(self, x):
        z = 20.0 * (x.flatten(1).mean(1) - 0.5)
        return torch.stack([-z, z], 1)


class Waves(nn.Module):
    """Class 0 on the crests of a wave of the mean pixel; a step of one period lands on the next crest."""

    def __init__(self, period):
        super().__init__()
        self.period = period

    def forward(self, x):
        z = torch.cos(2.0 * math.pi * (x.flatten(1).mean(1) - 0.5) / self.period)
        return torch.stack([z, -z], 1)


def flat(values, side=2):
    """Images of one grey value each."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, side, side).clone()


def thresholded(values):
    """One batch of images with the right labels."""
    x = flat(values)
    return [(x, (x.flatten(1).mean(1) > 0.5).long())]


def measure(model, batches, **options):
    settings = {"eps": 0.1, "steps": 20, "restarts": 2, "seed": 3, **options}
    return evaluate(model, batches, **settings)
