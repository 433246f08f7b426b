"""Data as a selection sees it: labels without reading images, and whether images change between readings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from acs_fast._util.progress import progress
from acs_fast._util.randomness import preserved_random_state
from acs_fast.data.batches import LABEL_KEYS, BatchAdapter, unpack


def is_random(dataset: Any, adapt: BatchAdapter = unpack, samples: int = 4, readings: int = 3) -> bool:
    """Whether one of the first samples changes from one reading to the next."""
    with preserved_random_state():
        for i in range(min(samples, len(dataset))):
            first, *others = (np.asarray(adapt(dataset[i])[0]) for _ in range(readings))
            if any(not np.array_equal(first, other, equal_nan=first.dtype.kind == "f") for other in others):
                return True
    return False


def stored_labels(dataset: Any, adapt: BatchAdapter = unpack) -> Tensor | None:
    """[N] labels where the dataset has them apart from its images; None where samples would have to be read.

    Looks for `targets` or `labels`, and for a column of a usual name (as Hugging Face datasets have). Also None where a
    `target_transform` or an adapter of the user's own may change labels on the way.
    """
    if adapt is not unpack:
        return None
    if isinstance(dataset, Subset):
        every = stored_labels(dataset.dataset)
        return None if every is None else every[torch.as_tensor(dataset.indices)]
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) >= 2:
        return dataset.tensors[1]
    columns = getattr(dataset, "column_names", None)
    if columns is not None:
        name = next((key for key in LABEL_KEYS if key in columns), None)
        return None if name is None else torch.as_tensor(np.asarray(dataset.with_format(None)[name][:]))
    if getattr(dataset, "target_transform", None) is not None:
        return None
    for name in ("targets", "labels"):
        values = getattr(dataset, name, None)
        if values is not None and len(values) == len(dataset):
            return torch.as_tensor(values)
    return None


def labels_of(dataset: Any, adapt: BatchAdapter = unpack) -> Tensor:
    """[N] labels, stored or by reading every sample."""
    stored = stored_labels(dataset, adapt)
    if stored is not None:
        return stored
    with preserved_random_state():
        items = progress(range(len(dataset)), "labels")
        return torch.tensor([int(adapt(dataset[i])[1]) for i in items])
