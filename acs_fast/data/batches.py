"""Batches of whatever form as images and labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acs_fast._util.checks import as_tensor

BatchAdapter = Callable[[Any], tuple[Tensor, Tensor]]

IMAGE_KEYS = ("x", "image", "images", "img", "input", "inputs", "pixel_values", "data")
LABEL_KEYS = ("y", "label", "labels", "target", "targets")


def unpack(batch: Any) -> tuple[Tensor, Tensor]:
    """(x, y) of a batch or a sample given as a tuple, a list or a dict.

    Raises:
        TypeError: another form, or a dict without a usual name.
    """
    if isinstance(batch, (tuple, list)) and len(batch) >= 2:
        return batch[0], _labels(batch[1])
    if isinstance(batch, Mapping):
        x = next((batch[k] for k in IMAGE_KEYS if k in batch), None)
        y = next((batch[k] for k in LABEL_KEYS if k in batch), None)
        if x is not None and y is not None:
            return x, _labels(y)
        raise TypeError(
            f"batches must have an image and a label; got keys {sorted(map(str, batch))}: use batch_adapter"
        )
    raise TypeError(f"batches must be (x, y) tuples, lists or dicts; got {type(batch).__name__}: use batch_adapter")


def _labels(y: Any) -> Tensor:
    """A label, or those of a batch."""
    if isinstance(y, (Tensor, np.ndarray)):
        return as_tensor("y", y)
    try:
        return torch.as_tensor(y)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"y must hold integer class labels; got {type(y).__name__}") from None
