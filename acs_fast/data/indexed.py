"""A data set of numbered samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import Dataset


class IndexedDataset(Dataset):
    """Any map-style dataset, with the sample's number added: (x, y) becomes (x, y, index), dicts get "index".

    Weights are looked up by that number in the main process, so that persistent workers never hold stale ones.

    Args:
        dataset: tuples, lists or dicts by number. Batched reads (`__getitems__`) are passed on to it where it has them.

    Raises:
        TypeError: the dataset has no length or no items.
        ValueError: it is empty.
    """

    def __init__(self, dataset: Any) -> None:
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(
                f"dataset must be map-style (__len__ and __getitem__); got {type(dataset).__name__}: samples of an "
                "iterable set have no numbers, so read it into a map-style one first"
            )
        try:
            samples = len(dataset)
        except TypeError as error:
            raise TypeError(f"dataset must have a length; got {type(dataset).__name__} ({error})") from None
        if not samples:
            raise ValueError("dataset must hold at least one sample; got none")
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int | list[int]) -> Any:
        item = self.dataset[index]
        if isinstance(index, list):  # a whole batch, from datasets that can (TensorDataset with batch_size=None)
            return _numbered(item, torch.as_tensor(index))
        return _numbered(item, index)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        batched = getattr(self.dataset, "__getitems__", None)
        items = [self.dataset[i] for i in indices] if batched is None else batched(indices)
        return [_numbered(item, index) for item, index in zip(items, indices, strict=True)]


def _numbered(item: Any, index: Any) -> Any:
    if isinstance(item, Mapping):
        return {**item, "index": index}
    if isinstance(item, (tuple, list)):
        return (*item, index)
    raise TypeError(f"dataset must give (x, y) tuples, lists or dicts; got {type(item).__name__}")
