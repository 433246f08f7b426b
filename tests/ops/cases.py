"""Named factors that every backend of every operator must handle."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Factors(NamedTuple):
    """residuals [N, R, C], features [N, R, D]."""

    residuals: Tensor
    features: Tensor
    bias: bool

    def to(self, *args) -> Factors:
        return Factors(self.residuals.to(*args), self.features.to(*args), self.bias)

    def dense(self) -> Tensor:
        """[N, C * D (+ C)] float64."""
        r, h = self.residuals.double(), self.features.double()
        weight = torch.einsum("nrc,nrd->ncd", r, h).flatten(1)
        return torch.cat([weight, r.sum(1)], 1) if self.bias else weight


def random(n: int, c: int, d: int, passes: int = 1, bias: bool = True, dtype=torch.float32, seed: int = 0) -> Factors:
    """Softmax-like residuals (they sum to zero) and rectified features."""
    generator = torch.Generator().manual_seed(seed)
    r = (
        torch.randn(n, passes, c, generator=generator, dtype=torch.float64).softmax(-1)
        if c > 1
        else torch.ones(n, passes, c)
    )
    if c > 1:
        label = torch.randint(0, c, (n, 1, 1), generator=generator).expand(n, passes, 1)
        r = r.scatter_add(-1, label, -torch.ones(n, passes, 1, dtype=torch.float64))
    h = torch.randn(n, passes, d, generator=generator).relu() + 0.1 * torch.randn(n, passes, d, generator=generator)
    return Factors(r.to(dtype), h.to(dtype), bias)


def strided() -> Factors:
    f = random(257, 6, 22)
    residuals = f.residuals.repeat_interleave(2, 2)[:, :, ::2]
    return Factors(residuals, f.features.transpose(0, 2).contiguous().transpose(0, 2), True)


def duplicates() -> Factors:
    f = random(90, 5, 12)
    index = torch.arange(90) % 30
    return Factors(f.residuals[index], f.features[index], True)


def near_duplicates() -> Factors:
    f = duplicates()
    generator = torch.Generator().manual_seed(1)
    return Factors(f.residuals, f.features + 1e-4 * torch.randn(f.features.shape, generator=generator), True)


def zero_gradients() -> Factors:
    f = random(80, 4, 9)
    residuals = f.residuals.clone()
    residuals[10:40] = 0.0
    return Factors(residuals, f.features, True)


CASES: dict[str, Callable[[], Factors]] = {
    "one": lambda: random(1, 3, 5),
    "two": lambda: random(2, 3, 5),
    "small-ragged": lambda: random(63, 3, 7),
    "ragged": lambda: random(257, 10, 33),
    "large": lambda: random(1000, 7, 130),
    "deep": lambda: random(64, 3, 700),
    "many-classes": lambda: random(90, 150, 20),
    "two-passes": lambda: random(130, 10, 33, passes=2),
    "three-passes": lambda: random(70, 4, 17, passes=3, bias=False),
    "vectors": lambda: random(100, 1, 300, bias=False),
    "strided": strided,
    "duplicates": duplicates,
    "near-duplicates": near_duplicates,
    "zero-gradients": zero_gradients,
    "all-zero": lambda: Factors(torch.zeros(20, 1, 3), torch.zeros(20, 1, 4), True),
    "double": lambda: random(257, 10, 33, dtype=torch.float64),
    "double-passes": lambda: random(70, 4, 17, passes=2, dtype=torch.float64),
    "half": lambda: random(120, 6, 40, dtype=torch.float16),
    "bfloat16": lambda: random(120, 6, 40, dtype=torch.bfloat16),
}


def budgets(n: int) -> list[int]:
    """From one to all."""
    return sorted({1, max(1, n // 3), n})


def problems(sizes: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """members [N] and offsets [G + 1] of groups of these sizes, their members scattered."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(sum(sizes), generator=generator)
    members = torch.cat([part.sort().values for part in order.split(sizes)])
    return members, torch.tensor([0, *sizes]).cumsum(0)
