"""Columns of several dtypes and shapes."""

from __future__ import annotations

import torch
from torch import Tensor

N = 40


def columns() -> list[Tensor]:
    """Tensors of several dtypes and shapes, of which the narrow ones would not be aligned behind one another."""
    number = torch.arange(N)
    return [number % 2 == 0, number[:, None, None].expand(N, 3, 1).half(), number.double(), number[:, None].float()]
