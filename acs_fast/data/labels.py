"""Labels of a data set, if possible without reading its images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from acs_fast._util.checks import as_numbers
from acs_fast._util.progress import progress
from acs_fast._util.randomness import preserved_random_state
from acs_fast.data.batches import LABEL_KEYS, unpack


class Labels:
    """[N] labels on the CPU, read when they are first called for.

    Args:
        dataset: of N samples.
        given: [N] integers, where the data set has none to read without decoding every image.

    Attributes:
        known: [N], or None as long as they would have to be read.

    Raises:
        ValueError: labels of another number or kind.
    """

    def __init__(self, dataset: Any, given: Any = None) -> None:
        self._dataset = dataset
        known = stored_labels(dataset) if given is None else as_numbers("labels", given)
        if known is not None and (known.shape != (len(dataset),) or known.dtype.is_floating_point):
            raise ValueError(f"labels must be {len(dataset)} integers; got {known.dtype} of shape {list(known.shape)}")
        self.known = None if known is None else known.cpu()

    def __call__(self) -> Tensor:
        """The labels."""
        if self.known is None:
            self.known = labels_of(self._dataset).cpu()
        return self.known


def stored_labels(dataset: Any) -> Tensor | None:
    """[N] labels where the dataset has them apart from its images; None where samples would have to be read.

    Looks for `targets` or `labels`, and for a column of a usual name (as Hugging Face datasets have). Also None where a
    `target_transform` may change labels on the way.
    """
    if isinstance(dataset, Subset):
        every = stored_labels(dataset.dataset)
        return None if every is None else every[torch.as_tensor(dataset.indices)]
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) >= 2:
        return dataset.tensors[1]
    columns = getattr(dataset, "column_names", None)
    if columns is not None:
        name = next((key for key in LABEL_KEYS if key in columns), None)
        return None if name is None else as_numbers(name, np.asarray(dataset.with_format(None)[name][:]))
    if getattr(dataset, "target_transform", None) is not None:
        return None
    for name in ("targets", "labels"):
        values = getattr(dataset, name, None)
        if values is not None and len(values) == len(dataset):
            return as_numbers(name, values)
    return None


def class_names_of(dataset: Any) -> tuple[str, ...]:
    """Names of the classes in the order of their labels, where a dataset has them; else empty.

    Looks for `classes` (as torchvision has them), and for a label column that knows names (as Hugging Face has).
    """
    if isinstance(dataset, Subset):
        return class_names_of(dataset.dataset)
    if getattr(dataset, "target_transform", None) is not None:
        return ()
    columns: Any = getattr(dataset, "features", None)
    names: Any = getattr(dataset, "classes", None)
    if isinstance(columns, Mapping):
        names = next((getattr(columns[key], "names", None) for key in LABEL_KEYS if key in columns), None)
    known = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    return tuple(names) if known else ()


def labels_of(dataset: Any) -> Tensor:
    """[N] labels, stored or by reading every sample."""
    stored = stored_labels(dataset)
    if stored is not None:
        return stored
    with preserved_random_state():
        items = progress(range(len(dataset)), "labels")
        return torch.tensor([int(unpack(dataset[i])[1]) for i in items])
