"""The dtype for sums of half-precision numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def accumulable_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 for half precision, else `dtype` itself."""
    return torch.promote_types(dtype, torch.float32)


def accumulable(x: Tensor) -> Tensor:
    """The tensor in `accumulable_dtype`: half precision is accumulated in float32."""
    return x.to(accumulable_dtype(x.dtype))
