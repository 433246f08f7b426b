"""Selection inside a training loop: gradients in shares, and one coreset for every process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from acs_fast._util.exchange import Exchange
from acs_fast._util.processes import world_size
from acs_fast._util.randomness import preserved_random_state
from acs_fast._util.settings import digest
from acs_fast.coreset import Coreset
from acs_fast.gradients.source import Extraction, GradientSource
from acs_fast.selection.distributed.selectors import select_across
from acs_fast.selection.distributed.shard import Shard, versions
from acs_fast.selection.selector import Selector


class Together:
    """The processes of a training as a selection sees them.

    Args:
        processes: how many share the samples of an epoch. They select together where the process group is as large;
            else each of them selects for itself.
        facts: by name, what must be the same in all of them, taken before the first selection.
    """

    def __init__(self, processes: int, facts: Callable[[], dict[str, Any]]) -> None:
        self.processes, self._facts = processes, facts
        self._agreed = False

    def exchange(self) -> Exchange:
        """For one selection; of this process alone where there is nobody to select with.

        Raises:
            ValueError: the processes differ in what must be the same; names it.
        """
        exchange = Exchange(alone=world_size() != self.processes)
        if exchange.size > 1 and not self._agreed:
            with exchange.together("comparing the processes"):
                facts = {**versions(), **self._facts()}
            exchange.check_equal(facts)
            self._agreed = True
        return exchange


def select(
    selector: Selector, source: GradientSource, n: int, budget: int, seed: int, exchange: Exchange
) -> tuple[Coreset, dict[str, float]]:
    """A coreset of gradients that lie on all processes, and the seconds that taking them took."""
    found, index, whole = _taken(source, n, seed, exchange)
    own = slice(exchange.rank, None, exchange.size) if whole else slice(None)
    shard = Shard(found.gradients[own], index[own], found.labels[own])
    return select_across(selector, shard, n, budget, seed, exchange), found.seconds


def gather(source: GradientSource, n: int, seed: int, exchange: Exchange) -> Extraction:
    """All gradients, in the order of the samples, on every rank."""
    found, index, whole = _taken(source, n, seed, exchange)
    if whole:
        return found
    numbers, labels = exchange.gather_rows(index.cpu(), found.labels.cpu())
    gradients = Shard(found.gradients, index).whole(exchange).gradients
    return Extraction(gradients, labels[torch.argsort(numbers)].to(gradients.device), found.seconds)


def _taken(source: GradientSource, n: int, seed: int, exchange: Exchange) -> tuple[Extraction, Tensor, bool]:
    """The gradients on this process, the numbers of their samples, and whether every process has all of them.

    Raises:
        ValueError: together they are not those of n samples, once or on every process.
    """
    found, index = source.shard(seed, exchange)
    counts = exchange.gather(torch.tensor(len(index))).tolist()
    whole = min(counts) == n
    if not whole and sum(counts) != n:
        raise ValueError(f"gradients must be those of all {n} samples; got {', '.join(map(str, counts))}")
    return found, index, whole


def fingerprints(dataset: Any, model: nn.Module, labels: Tensor | None) -> dict[str, str]:
    """By name, what processes that select together must have alike; buffers may differ, as in data-parallel training.

    Args:
        labels: those known without reading a sample.
    """
    known = [] if labels is None else [labels]
    return {"data": fingerprint(dataset), "model": digest(model.parameters()), "labels": digest(known)}


def fingerprint(dataset: Any, samples: int = 8) -> str:
    """Of some samples spread over the data, without what changes from one reading to the next."""
    found = hashlib.sha256()
    with preserved_random_state():
        for i in torch.linspace(0, len(dataset) - 1, min(samples, len(dataset))).long().unique().tolist():
            for first, again in zip(_parts(dataset[i]), _parts(dataset[i]), strict=True):
                found.update(first if first == again else b"random")
    return found.hexdigest()[:16]


def _parts(item: Any) -> list[bytes]:
    """The contents of a sample of any form; nothing of what is no array."""
    if isinstance(item, Mapping):
        return [part for key in item for part in _parts(item[key])]
    if isinstance(item, (tuple, list)):
        return [part for value in item for part in _parts(value)]
    array = np.asarray(item)
    return [b"" if array.dtype == object else array.tobytes()]
