"""Selectors over shards: shared by the ranks, or on the first rank alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from acs_fast._util.exchange import Exchange
from acs_fast.coreset import Coreset
from acs_fast.selection.craig import Craig
from acs_fast.selection.distributed.covering import facility_location
from acs_fast.selection.distributed.matching import gradient_matching
from acs_fast.selection.distributed.result import gradient_error
from acs_fast.selection.distributed.shard import Shard
from acs_fast.selection.gradmatch import GradMatch, trusted_target
from acs_fast.selection.per_batch import PerBatch, batch_gradients

Way = Callable[[Any, Shard, int, int, int, Exchange], Coreset]

_WAYS: dict[Any, Way] = {}  # by the `select` that each gives the picks of


def register_across(kind: type) -> Callable[[Way], Way]:
    """Decorate a function that does for a kind of selector over shards what its `select` does for all samples.

    It serves subclasses too, unless they have a `select` of their own.
    """

    def register(way: Way) -> Way:
        _WAYS[kind.select] = way  # type: ignore[attr-defined]
        return way

    return register


def select_across(selector: Any, shard: Shard, n: int, budget: int, seed: int, exchange: Exchange) -> Coreset:
    """`selector.select` for samples that lie on several processes; the same coreset on every rank.

    A selector with a `select` of its own chooses on the first rank, which all factors are brought to. Teach another
    kind with `register_across`.

    Args:
        shard: the samples of this rank.
        n, budget, seed: as in `Selector.select`; N counts the samples of all ranks.
    """
    way = _WAYS.get(getattr(type(selector), "select", None), _on_first_rank)
    return way(selector, shard, n, budget, seed, exchange)


def _on_first_rank(selector: Any, shard: Shard, n: int, budget: int, seed: int, exchange: Exchange) -> Coreset:
    labels = shard.whole_labels(exchange)
    whole = shard.whole(exchange).gradients
    found: Coreset = exchange.from_first(
        "the selection", lambda: selector.select(n, budget, whole, labels, seed).to("cpu")
    )
    return found


@register_across(Craig)
def _craig(selector: Craig, shard: Shard, n: int, budget: int, seed: int, exchange: Exchange) -> Coreset:
    per_class = selector.per_class and shard.labels is not None
    chosen = facility_location(
        shard, budget, metric=selector.metric, per_class=per_class, memory=selector.memory, backend=selector.backend,
        exchange=exchange,
    )  # fmt: skip
    return selector.weighted(
        chosen, n, lambda weights: gradient_error(shard.sorted(), chosen.indices, weights, exchange)
    )


@register_across(GradMatch)
def _gradmatch(selector: GradMatch, shard: Shard, n: int, budget: int, seed: int, exchange: Exchange) -> Coreset:
    per_class = selector.per_class and shard.labels is not None
    target = None
    if selector.target is not None:
        labels = shard.whole_labels(exchange) if per_class else None
        source = selector.target
        target = exchange.from_first("the target pass", lambda: trusted_target(source(seed), n, labels).cpu())
        target = target.to(shard.gradients.device)
    return gradient_matching(
        shard, budget, per_class=per_class, target=target, ridge=selector.ridge, fill=selector.fill, seed=seed,
        backend=selector.backend, exchange=exchange,
    )  # fmt: skip


@register_across(PerBatch)
def _per_batch(selector: PerBatch, shard: Shard, n: int, budget: int, seed: int, exchange: Exchange) -> Coreset:
    """The mini-batches are dealt out, each rank takes the mean gradients of its own, and then selects among them."""
    batches = selector.batches(n, seed)
    owner = torch.empty(n, dtype=torch.int64)
    for number, members in enumerate(batches):
        owner[members] = number % exchange.size
    own = Shard(shard.gradients, shard.index).deliver(owner[shard.index.cpu()], exchange)
    numbers = torch.arange(len(batches))[exchange.rank :: exchange.size]
    places = [torch.searchsorted(own.index.cpu(), batches[b]) for b in numbers.tolist()]
    means = batch_gradients(own.gradients, places, len(batches[0]))
    chosen = select_across(
        selector.selector, Shard(means, numbers), len(batches), selector.batch_budget(n, budget), seed, exchange
    )
    return selector.expanded(chosen, batches)
