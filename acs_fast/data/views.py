"""A test for images of random augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np

from acs_fast._util.randomness import preserved_random_state
from acs_fast.data.batches import BatchAdapter, unpack


def is_random(dataset: Any, adapt: BatchAdapter = unpack, samples: int = 4, readings: int = 3) -> bool:
    """Whether one of the first samples changes from one reading to the next."""
    with preserved_random_state():
        for i in range(min(samples, len(dataset))):
            first, *others = (np.asarray(adapt(dataset[i])[0]) for _ in range(readings))
            if any(not np.array_equal(first, other, equal_nan=first.dtype.kind == "f") for other in others):
                return True
    return False
