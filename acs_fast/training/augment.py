"""Random crops and flips of whole batches, on the device of the images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

PAD = 4
AUGMENTATIONS = {"none": "images as they are", "standard": f"crops of images padded by {PAD} pixels, and flips"}


def standard(x: Tensor, seed: int) -> Tensor:
    """Each image padded by zeros, cropped at random to its size, and flipped left to right half of the time.

    Args:
        x: [B, channels, height, width].
        seed: of everything random in it; the global random state is neither used nor changed.

    Returns:
        A new batch like x.
    """
    generator = torch.Generator().manual_seed(seed)
    n, _, height, width = x.shape
    down, right = torch.randint(2 * PAD + 1, (2, n, 1), generator=generator)
    flipped = torch.randint(2, (n, 1), generator=generator, dtype=torch.bool)
    rows = down + torch.arange(height)
    columns = torch.where(flipped, torch.arange(width).flip(0), torch.arange(width)) + right
    padded = F.pad(x, (PAD, PAD, PAD, PAD)).permute(0, 2, 3, 1)
    sample = torch.arange(n).view(n, 1, 1)
    index = [t.to(x.device) for t in (sample, rows[:, :, None], columns[:, None, :])]
    return padded[tuple(index)].permute(0, 3, 1, 2)
