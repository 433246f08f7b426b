"""Small ragged problems with what real gradients have: duplicates, zeros, near-duplicates, several head passes."""

from __future__ import annotations

import torch
from torch import Tensor


def factors(n: int, passes: int, classes: int, width: int, dtype: torch.dtype = torch.float32, seed: int = 0):
    """Residuals [n, R, C] and features [n, R, D]."""
    generator = torch.Generator().manual_seed(seed)
    r = torch.randn(n, passes, classes, generator=generator)
    h = torch.randn(n, passes, width, generator=generator)
    if n > 20:
        r[5], h[5] = r[17], h[17]
        r[9] = r[11] = 0.0
        r[3], h[3] = r[4] * 1.001, h[4]
    return r.to(dtype), h.to(dtype)


def grouping(sizes: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Shuffled members [N] and offsets [G + 1]."""
    members = torch.randperm(sum(sizes), generator=torch.Generator().manual_seed(seed))
    return members, torch.tensor([0, *sizes]).cumsum(0)
