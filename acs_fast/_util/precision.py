"""Matrix products in full precision, whatever the surroundings allow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_precision(where: str) -> Iterator[None]:
    """No autocast on this kind of device, and products of float32 in float32 also where the user has allowed TF32.

    Rounded distances are not the same distances.
    """
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    with torch.autocast(where, enabled=False):
        if where != "cuda" or before in ("ieee", "none"):
            yield
            return
        settings.fp32_precision = "ieee"
        try:
            yield
        finally:
            settings.fp32_precision = before
