"""One problem per class, each solved whole by one rank: the classes are dealt out, and only their factors travel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from acs_fast._util.exchange import Exchange
from acs_fast.selection.distributed.shard import Shard, dealt
from acs_fast.selection.groups import Groups, partition


@dataclass(frozen=True)
class Picks:
    """What was picked in each of G problems, all by problem in pick order.

    Attributes:
        indices: [k] numbers of the samples.
        weights, gains: [k] float64.
        counts: [G] picks of each problem.
        objectives: [G] float64.
        added: [G] how many of the picks a fill policy added.
    """

    indices: Tensor
    weights: Tensor
    gains: Tensor
    counts: Tensor
    objectives: Tensor
    added: Tensor


@dataclass(frozen=True)
class OwnProblems:
    """The problems that this rank solves.

    Attributes:
        shard: all their samples, in ascending order of number.
        groups: the samples of each problem, as positions in the shard.
        numbers: of these problems among all G, ascending.
        budgets: [G] picks of every problem, whoever solves it.
    """

    shard: Shard
    groups: Groups
    numbers: Tensor
    budgets: Tensor

    @property
    def own_budgets(self) -> Tensor:
        """Picks of the problems that this rank solves."""
        return self.budgets[self.numbers]


def classes(shard: Shard, budget: int, exchange: Exchange) -> OwnProblems:
    """Count the classes, share the budget among them, deal them out, and bring each its samples.

    Raises:
        ValueError: no labels, or a budget smaller than the number of classes.
    """
    if shard.labels is None:
        raise ValueError("labels must be given for a problem per class; got none")
    labels = shard.labels.cpu()
    found, counts = torch.unique(labels, return_counts=True)
    every, sizes_of_every = exchange.gather_rows(found, counts)
    ids, position = torch.unique(every, return_inverse=True)
    sizes = torch.zeros_like(ids).index_add_(0, position, sizes_of_every)
    edges = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    budgets = Groups(edges[:0], edges).share(budget)
    owner = dealt(sizes, exchange.size)
    own = shard.deliver(owner[torch.searchsorted(ids, labels)], exchange)
    groups = partition(own.labels, len(own), own.gradients.device)
    return OwnProblems(own, groups, (owner == exchange.rank).nonzero().flatten(), budgets)


def everything(shard: Shard, budget: int, exchange: Exchange) -> OwnProblems:
    """One problem over all samples, which every rank holds."""
    whole = shard.whole(exchange)
    groups = partition(None, len(whole), whole.gradients.device)
    return OwnProblems(whole, groups, torch.zeros(1, dtype=torch.int64), torch.tensor([budget]))


def solved(own: OwnProblems, solve: Callable[[OwnProblems], Picks], exchange: Exchange) -> Picks:
    """The picks of all problems on every rank, in ascending order of the problems.

    Args:
        solve: solves the problems of this rank; its indices are positions in the shard. Not called without any.
    """
    device = own.shard.gradients.device
    with exchange.together("the selection"):
        mine = solve(own) if len(own.numbers) else _nothing(device)
    numbers, counts, objectives, added = exchange.gather_rows(own.numbers, mine.counts, mine.objectives, mine.added)
    indices, weights, gains = exchange.gather_rows(own.shard.index[mine.indices], mine.weights, mine.gains)
    order = torch.argsort(numbers)
    by_problem = torch.argsort(torch.repeat_interleave(numbers, counts), stable=True).to(device)
    indices, weights, gains = (x[by_problem] for x in (indices, weights, gains))
    return Picks(indices, weights, gains, counts[order], objectives[order], added[order])


def solved_by_first(own: OwnProblems, solve: Callable[[OwnProblems], Picks], exchange: Exchange) -> Picks:
    """The picks of problems that every rank holds and the first one solves."""
    numbers = own.numbers if exchange.rank == 0 else own.numbers[:0]
    return solved(OwnProblems(own.shard, own.groups, numbers, own.budgets), solve, exchange)


def _nothing(device: torch.device) -> Picks:
    integers, numbers = (torch.empty(0, dtype=dtype, device=device) for dtype in (torch.int64, torch.float64))
    return Picks(integers, numbers, numbers, integers.cpu(), numbers.cpu(), integers.cpu())
