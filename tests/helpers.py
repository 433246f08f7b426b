"""Cases and slow references that several test files share. Nothing here calls the code that it is compared with."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor, nn
from torch.utils.data import Dataset

from acs_fast import LastLayerGradients


def make_gradients(
    n: int, classes: int = 4, width: int = 5, passes: int = 1, dtype: torch.dtype = torch.float32, seed: int = 0
) -> LastLayerGradients:
    """Softmax residuals and rectified features, as a classifier gives them."""
    g = torch.Generator().manual_seed(seed)
    z = 2.0 * torch.randn(n, passes, classes, generator=g, dtype=torch.float64)
    y = torch.randint(classes, (n,), generator=g)
    residuals = z.softmax(-1) - nn.functional.one_hot(y, classes)[:, None]
    features = torch.randn(n, passes, width, generator=g, dtype=torch.float64).relu()
    return LastLayerGradients(residuals.to(dtype), features.to(dtype))


def brute_force_greedy(d: np.ndarray, k: int) -> tuple[list[int], list[float]]:
    """Greedy facility location by definition: every gain from scratch at every pick, the lowest index among equals."""
    d = np.asarray(d, dtype=np.float64)
    current = np.full(len(d), d.max())
    picks, gains = [], []
    for _ in range(k):
        gain = np.maximum(current[:, None] - d, 0.0).sum(0)
        gain[picks] = -1.0
        pick = int(gain.argmax())
        picks.append(pick)
        gains.append(float(gain[pick]))
        current = np.minimum(current, d[:, pick])
    return picks, gains


def textbook_matching(vectors: np.ndarray, target: np.ndarray, k: int, ridge: float = 0.0) -> float:
    """Objective that NN-OMP reaches with a full NNLS refit over all picks at every step."""
    chosen: list[int] = []
    w = np.zeros(0)
    for _ in range(k):
        correlation = vectors @ (target - w @ vectors[chosen])
        correlation[chosen] = -np.inf
        if correlation.max() <= 1e-9 * np.abs(vectors @ target).max():
            break
        chosen.append(int(correlation.argmax()))
        system = np.vstack([vectors[chosen].T, np.sqrt(ridge) * np.eye(len(chosen))])
        w, _ = nnls(system, np.concatenate([target, np.zeros(len(chosen))]))
    return float(np.square(target - w @ vectors[chosen]).sum() + ridge * np.square(w).sum())


class ConvNet(nn.Module):
    """Everything that must not leak: batch norm, dropout, pooling and flattening before the head."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.hidden = nn.Linear(4 * 9, 8)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = nn.functional.max_pool2d(torch.relu(self.norm(self.conv(x))), 2).flatten(1)
        return self.head(self.dropout(torch.relu(self.hidden(h))))


def images(n: int, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, 1, 8, 8, generator=g), torch.randint(classes, (n,), generator=g)


class Augmented(Dataset):
    """Random at every reading, as augmented image data sets are."""

    def __init__(self, n):
        self.n, self.targets = n, [i % 3 for i in range(n)]

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return (torch.full((1, 2, 2), index / 100) + 0.1 * torch.rand(())).clamp(0, 1), self.targets[index]


def gradient_signs(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """[B, ...] signs of the cross-entropy's gradient at the images."""
    x = x.clone().requires_grad_()
    nn.functional.cross_entropy(model(x), y, reduction="sum").backward()
    assert x.grad is not None
    return x.grad.sign()
