"""Seeded synthetic last-layer gradients, like those of a partly trained classifier.

Every class has a mean activation, made of a few shared prototypes, so that some classes are easily confused; every
sample adds a smaller pattern of its sub-class and noise, and a ReLU makes the features. The head is a scaled
nearest-mean classifier. A sample's signal varies from clear to hidden in noise: clear ones are fitted and have
gradients near zero, hidden ones have large residuals, spread over the classes they are confused with.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acs_fast.gradients.factored import LastLayerGradients

SUBCLASSES = 12
SHARPNESS = 1.0  # standard deviation of a logit: high entropy, as under attack


def labels(n: int, classes: int, groups: int) -> Tensor:
    """[N] labels: the first `groups` classes in turn (1: all samples are of one class)."""
    return torch.arange(n) % min(groups, classes)


def gradients(n: int, classes: int, width: int, groups: int = 1, seed: int = 0) -> tuple[LastLayerGradients, Tensor]:
    """N cross-entropy gradients [N, C] x [N, D] of a head with bias, and the labels [N]."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    y = labels(n, classes, groups)
    prototypes = max(2, classes // 2)
    means = normal(classes, width) + normal(classes, prototypes) @ normal(prototypes, width) / prototypes**0.5
    patterns = normal(SUBCLASSES, width)
    subclass = torch.randint(SUBCLASSES, (n,), generator=generator)
    signal = 0.9 * torch.rand(n, 1, generator=generator)
    features = torch.relu(signal * means[y] + 0.7 * patterns[subclass] + normal(n, width))
    weight = torch.relu(means) - torch.relu(means).mean(0)
    logits = (features - features.mean(0)) @ weight.T
    if groups == 1:  # centring one class takes its own direction off: put it back
        logits += signal * (torch.relu(means) @ weight.T)[y]
    logits *= SHARPNESS / logits.std()
    residuals = torch.softmax(logits, 1)
    residuals[torch.arange(n), y] -= 1.0
    return LastLayerGradients(residuals, features, bias=True), y
