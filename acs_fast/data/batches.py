"""Batches and samples of any form as images and labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acs_fast._util.checks import as_numbers, check_images, check_label_shape, placed
from acs_fast._util.randomness import preserved_random_state

BatchAdapter = Callable[[Any], tuple[Tensor, Tensor]]

IMAGE_KEYS = ("x", "image", "images", "img", "input", "inputs", "pixel_values", "data")
LABEL_KEYS = ("y", "label", "labels", "target", "targets")


def unpack(batch: Any) -> tuple[Tensor, Tensor]:
    """(x, y) of a batch or a sample given as a tuple, a list or a dict.

    Raises:
        TypeError: another form, or a dict without a usual name.
    """
    if isinstance(batch, (tuple, list)) and len(batch) >= 2:
        return batch[0], as_numbers("y", batch[1])
    if isinstance(batch, Mapping):
        x = next((batch[k] for k in IMAGE_KEYS if k in batch), None)
        y = next((batch[k] for k in LABEL_KEYS if k in batch), None)
        if x is not None and y is not None:
            return x, as_numbers("y", y)
        raise TypeError(
            f"batches must have an image and a label; got keys {sorted(map(str, batch))}: use batch_adapter"
        )
    raise TypeError(f"batches must be (x, y) tuples, lists or dicts; got {type(batch).__name__}: use batch_adapter")


def images_and_labels(batch: Any, like: Tensor, adapt: BatchAdapter = unpack) -> tuple[Tensor, Tensor]:
    """(x, y) of a batch: images on the device and in the floating dtype of a parameter, int64 labels where they are.

    Raises:
        TypeError: as `unpack`, images that are bytes or no numbers, or labels that are no integers.
        ValueError: images without a first dimension, or not one label an image.
    """
    x, y = adapt(batch)
    x = check_images("x", x)
    if x.dtype == torch.uint8:
        raise TypeError("x must be floating, pixels in [0, 1]; got torch.uint8: divide bytes by 255")
    return placed(x, like), check_label_shape(as_numbers("y", y), len(x))


def is_random(dataset: Any, adapt: BatchAdapter = unpack) -> bool:
    """Whether one of the first images changes from one reading to the next, as under random augmentation."""
    with preserved_random_state():
        for i in range(min(4, len(dataset))):
            first, *others = (np.asarray(adapt(dataset[i])[0]) for _ in range(3))
            if any(not np.array_equal(first, other, equal_nan=first.dtype.kind == "f") for other in others):
                return True
    return False
