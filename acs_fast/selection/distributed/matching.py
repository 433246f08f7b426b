"""GradMatch over several processes: of one problem the correlations in shares, the refit on every rank."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from acs_fast import ops
from acs_fast._util.checks import check_choice, check_number, resolve_budget
from acs_fast._util.exchange import Exchange
from acs_fast._util.randomness import derived_generator
from acs_fast._util.stopwatch import Stopwatch
from acs_fast.coreset import Coreset
from acs_fast.ops import backends
from acs_fast.ops.match_part import match_part
from acs_fast.selection.distributed.columns import edges_of
from acs_fast.selection.distributed.per_class import OwnProblems, Picks, classes, everything, solved, solved_by_first
from acs_fast.selection.distributed.result import coreset_of
from acs_fast.selection.distributed.shard import Shard
from acs_fast.selection.gradmatch import FILLS, completed, own_totals, shaped_targets


def gradient_matching(
    shard: Shard,
    budget: int | float,
    *,
    per_class: bool = True,
    target: Tensor | None = None,
    ridge: float = 0.0,
    fill: str = "none",
    seed: int = 0,
    backend: str = "auto",
    exchange: Exchange | None = None,
) -> Coreset:
    """`acs_fast.gradient_matching` of the samples of all ranks: the same picks, weights and gains, on every rank.

    One problem over all samples is shared by the ranks where the CPU's kernels run, with all factors on every rank;
    elsewhere the first rank solves it.

    Args:
        shard: the samples of this rank, in any order.
        budget, target, ridge, fill, seed, backend: as there; N is the number of samples on all ranks.
        per_class: a problem for each label of the shards, else one over all samples.
        exchange: the processes that select together; by default all of them.

    Raises:
        ValueError, RuntimeError: as `facility_location` here, and as `acs_fast.gradient_matching`.
    """
    check_choice("fill", fill, FILLS)
    ridge = check_number("ridge", ridge, low=0.0)
    exchange = exchange or Exchange()
    n = shard.check(exchange)
    k = resolve_budget(budget, n)
    watch = Stopwatch(shard.gradients.device)
    name = backends.chosen("gradient_matching", backend, shard.gradients.device)
    with watch("select"):
        own = classes(shard, k, exchange) if per_class else everything(shard, k, exchange)
        targets = None if target is None else shaped_targets(shard.gradients, len(own.budgets), target)
        search = _Match(targets, ridge, fill, seed, name, watch)
        if per_class:
            picks, path = solved(own, search, exchange), "per class"
        elif name == "cpu":
            picks, path = search.together(own, exchange), "by all ranks"
        else:
            picks, path = solved_by_first(own, search, exchange), "on the first rank"
    held, goal = own.shard if per_class else shard.sorted(), None if targets is None else targets.sum(0)
    coreset = coreset_of(
        picks, held, watch, exchange, goal, backend=name, path=path, budget=k, filled=int(picks.added.sum()),
        stopped=int((picks.counts - picks.added < own.budgets).sum()),
    )  # fmt: skip
    coreset.stats["objective"] += ridge * float(coreset.weights.double().square().sum())
    return coreset.check(n, None if fill == "none" else k)


class _Match:
    """Gradient matching of problems that are here, alone or with the other ranks."""

    def __init__(
        self, targets: Tensor | None, ridge: float, fill: str, seed: int, backend: str, watch: Stopwatch
    ) -> None:
        self.targets, self.ridge, self.fill, self.seed = targets, ridge, fill, seed
        self.backend, self.watch = backend, watch

    def __call__(self, own: OwnProblems) -> Picks:
        g, budgets, targets = own.shard.gradients, own.own_budgets, self._targets(own)
        (*matched, counts), report = ops.gradient_matching(
            g.residuals, g.features, g.bias, own.groups.of(budgets), targets, self.ridge, backend=self.backend
        )
        self.watch.add(report.seconds)
        return self._completed(own, targets, matched, counts)

    def together(self, own: OwnProblems, exchange: Exchange) -> Picks:
        """One problem by all ranks, each of which holds it whole."""
        begin, end = edges_of(len(own.shard), exchange.size)[exchange.rank : exchange.rank + 2].tolist()
        g, targets = own.shard.gradients, self._targets(own)
        matched = match_part(
            g.residuals, g.features, g.bias, slice(begin, end), targets[0], int(own.budgets[0]), self.ridge, exchange
        )
        return self._completed(own, targets, matched, torch.tensor([len(matched[0])]))

    def _targets(self, own: OwnProblems) -> Tensor:
        if self.targets is not None:
            return self.targets[own.numbers.to(self.targets.device)]
        return own_totals(own.shard.gradients, own.groups)

    def _completed(self, own: OwnProblems, targets: Tensor, matched: Sequence[Tensor], counts: Tensor) -> Picks:
        generators = [derived_generator("fill", self.seed, i) for i in own.numbers.tolist()]
        parts, errors = completed(
            own.shard.gradients,
            own.groups,
            matched,
            counts,
            own.own_budgets,
            targets,
            self.ridge,
            self.fill,
            generators,
        )
        indices, weights, gains = (torch.cat(x) for x in zip(*parts, strict=True))
        filled = torch.tensor([len(part[0]) for part in parts])
        return Picks(indices, weights, gains, filled, torch.tensor(errors, dtype=torch.float64), filled - counts.cpu())
