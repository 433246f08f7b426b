"""The data side of the loop: a dataset that says which sample it gives, and samplers that follow the coreset."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, Dataset, Sampler, Subset, TensorDataset

from acs_fast._util.progress import progress
from acs_fast._util.randomness import derived_generator, preserved_random_state
from acs_fast.gradients.extract import unpack

logger = logging.getLogger("acs_fast")

Adapter = Callable[[Any], tuple[Any, Any]]


class IndexedDataset(Dataset):
    """Any map-style dataset, with the sample's number added: (x, y) becomes (x, y, index), dicts get "index".

    Weights are looked up by that number in the main process, so workers that live on never hold stale ones.

    Raises:
        TypeError: the dataset has no length or no items.
        ValueError: it is empty.
    """

    def __init__(self, dataset: Any) -> None:
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(f"dataset must be map-style (__len__ and __getitem__); got {type(dataset).__name__}")
        if not len(dataset):
            raise ValueError("dataset must hold at least one sample; got none")
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int | list[int]) -> Any:
        item = self.dataset[index]
        if isinstance(index, list):  # a whole batch, from datasets that can (TensorDataset with batch_size=None)
            return (*item, torch.as_tensor(index))
        if isinstance(item, Mapping):
            return {**item, "index": index}
        if isinstance(item, (tuple, list)):
            return (*item, index)
        raise TypeError(f"dataset must give (x, y) tuples, lists or dicts; got {type(item).__name__}")


class Plan:
    """What the current epoch trains on: shared by the samplers, changed by the loop."""

    def __init__(self, seed: int, batch_size: int, rank: int, world_size: int) -> None:
        self.seed, self.batch_size, self.rank, self.world_size = seed, batch_size, rank, world_size
        self.epoch = -1
        self.indices = torch.empty(0, dtype=torch.int64)
        self.batches: list[Tensor] | None = None  # fixed mini-batches, for batch granularity
        self.apart: Tensor | None = None  # samples that share mini-batches with one another only

    def set(
        self, epoch: int, indices: Tensor, batches: list[Tensor] | None = None, apart: Tensor | None = None
    ) -> None:
        self.epoch, self.indices, self.batches, self.apart = epoch, indices, batches, apart

    def samples(self) -> Tensor:
        """This epoch's samples in this rank's order; in mini-batches of `apart` and of the others, where it is given.

        Whole mini-batches come first, then what is left of both. All ranks have one of `apart` at the same time.
        """
        if self.apart is None:
            return self.indices[self.order(len(self.indices))]
        mask = torch.isin(self.indices, self.apart)
        parts = [part[self.order(len(part))] for part in (self.indices[mask], self.indices[~mask])]
        whole = torch.cat([part[: len(part) // self.batch_size * self.batch_size] for part in parts])
        left = torch.cat([part[len(part) // self.batch_size * self.batch_size :] for part in parts])
        batches = whole.view(-1, self.batch_size)
        order = torch.randperm(len(batches), generator=derived_generator("batches", self.seed, self.epoch))
        return torch.cat([batches[order].flatten(), left])

    def order(self, n: int) -> Tensor:
        """This epoch's order of n things, this rank's share of it; short shares are padded from the beginning."""
        order = torch.randperm(n, generator=derived_generator("order", self.seed, self.epoch))
        missing = -n % self.world_size
        if missing:
            order = torch.cat([order, order.repeat(-(-missing // n))[:missing]]) if n else order
        return order[self.rank :: self.world_size]

    def share(self, n: int) -> int:
        return -(-n // self.world_size)

    def size(self) -> int:
        """How many samples `samples` gives."""
        if self.apart is None:
            return self.share(len(self.indices))
        apart = int(torch.isin(self.indices, self.apart).sum())
        return self.share(apart) + self.share(len(self.indices) - apart)


class CoresetSampler(Sampler[int]):
    """Yields the samples of the current epoch in an order that depends only on the seed and the epoch."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __len__(self) -> int:
        plan = self._plan
        if plan.batches is not None:
            return sum(len(plan.batches[i]) for i in plan.order(len(plan.batches)).tolist())
        return plan.size()

    def __iter__(self) -> Iterator[int]:
        plan = self._plan
        if plan.batches is not None:
            chosen = torch.cat([plan.batches[i] for i in plan.order(len(plan.batches)).tolist()])
            return iter(chosen.tolist())
        return iter(plan.samples().tolist())


class CoresetBatchSampler(BatchSampler):
    """Yields mini-batches: the selected ones as they are (batch granularity), else batches of shuffled samples."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(CoresetSampler(plan), plan.batch_size, drop_last=False)
        self._plan = plan

    def __len__(self) -> int:
        plan = self._plan
        if plan.batches is not None:
            return plan.share(len(plan.batches))
        return -(-plan.size() // plan.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        plan = self._plan
        if plan.batches is not None:
            return iter([plan.batches[i].tolist() for i in plan.order(len(plan.batches)).tolist()])
        order = plan.samples()
        return iter([batch.tolist() for batch in order.split(plan.batch_size)] if len(order) else [])


def with_transform(dataset: Any, transform: Callable[[Any], Any]) -> Any:
    """A shallow copy of the dataset (or of the one inside a Subset) with another `transform`; the original stays.

    Raises:
        ValueError: there is no `transform` attribute to replace.
    """
    replaced = copy.copy(dataset)
    if isinstance(dataset, Subset):
        replaced.dataset = with_transform(dataset.dataset, transform)
    elif hasattr(dataset, "transform"):
        replaced.transform = transform
    else:
        raise ValueError(
            f"selection_transform needs a dataset with a .transform attribute; {type(dataset).__name__} has none: pass "
            "selection_dataset, the same samples without augmentation"
        )
    return replaced


def is_random(dataset: Any, adapt: Adapter, samples: int = 4, readings: int = 3) -> bool:
    """Whether one of the first samples changes from one reading to the next."""
    with preserved_random_state():
        for i in range(min(samples, len(dataset))):
            first, *others = (np.asarray(adapt(dataset[i])[0]) for _ in range(readings))
            if any(not np.array_equal(first, other, equal_nan=first.dtype.kind == "f") for other in others):
                return True
    return False


def stored_labels(dataset: Any, adapt: Adapter = unpack) -> Tensor | None:
    """[N] labels where the dataset has them as `targets` or `labels`; None where samples would have to be read.

    Also None where a `target_transform` or an adapter of the user's own may change them on the way.
    """
    if adapt is not unpack:
        return None
    if isinstance(dataset, Subset):
        every = stored_labels(dataset.dataset)
        return None if every is None else every[torch.as_tensor(dataset.indices)]
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) >= 2:
        return dataset.tensors[1]
    if getattr(dataset, "target_transform", None) is not None:
        return None
    for name in ("targets", "labels"):
        values = getattr(dataset, name, None)
        if values is not None and len(values) == len(dataset):
            return torch.as_tensor(values)
    return None


def labels_of(dataset: Any, adapt: Adapter) -> Tensor:
    """[N] labels, stored or by reading every sample."""
    stored = stored_labels(dataset, adapt)
    if stored is not None:
        return stored
    with preserved_random_state():
        items = progress(range(len(dataset)), "labels")
        return torch.tensor([int(adapt(dataset[i])[1]) for i in items])


def selection_view(dataset: Any, selection_dataset: Any, transform: Callable[[Any], Any] | None, adapt: Adapter) -> Any:
    """The data as the selection sees it."""
    if selection_dataset is not None:
        if transform is not None:
            raise ValueError("selection_dataset and selection_transform exclude each other; both were given")
        if len(selection_dataset) != len(dataset):
            raise ValueError(
                f"selection_dataset must hold the same {len(dataset)} samples as dataset; got {len(selection_dataset)}"
            )
        return selection_dataset
    if transform is not None:
        return with_transform(dataset, transform)
    if is_random(dataset, adapt):
        logger.warning(
            "the dataset gives another image each time it is read: random augmentation leaks into the selection. Pass "
            "selection_transform or selection_dataset"
        )
    return dataset
