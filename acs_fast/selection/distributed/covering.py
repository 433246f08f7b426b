"""CRAIG over several processes."""

from __future__ import annotations

from typing import Any

import torch

from acs_fast import ops
from acs_fast._util.checks import check_choice, resolve_budget
from acs_fast._util.exchange import Exchange
from acs_fast._util.stopwatch import Stopwatch
from acs_fast.coreset import Coreset
from acs_fast.ops import backends
from acs_fast.selection.craig import METRICS
from acs_fast.selection.distributed.columns import ComputedColumns, StoredPairs
from acs_fast.selection.distributed.global_greedy import global_greedy
from acs_fast.selection.distributed.per_class import OwnProblems, Picks, classes, everything, solved, solved_by_first
from acs_fast.selection.distributed.result import coreset_of, own_workspace_bytes
from acs_fast.selection.distributed.shard import Shard


def facility_location(
    shard: Shard,
    budget: int | float,
    *,
    metric: str = "euclidean",
    per_class: bool = True,
    memory: int | None = None,
    backend: str = "auto",
    exchange: Exchange | None = None,
) -> Coreset:
    """`acs_fast.facility_location` of the samples of all ranks: the same picks, weights and gains, on every rank.

    One problem over all samples is shared by the ranks where the CPU's kernels run; elsewhere the first rank solves it.

    Args:
        shard: the samples of this rank, in any order.
        budget, metric, memory, backend: as there; N is the number of samples on all ranks, `memory` this rank's.
        per_class: a problem for each label of the shards, else one over all samples.
        exchange: the processes that select together; by default all of them.

    Returns:
        The coreset, whose `stats["exchange"]` says how often the ranks met and what this one sent.

    Raises:
        ValueError: as there; shards that do not hold every sample once.
        RuntimeError: another rank failed or has ended.
    """
    check_choice("metric", metric, METRICS)
    exchange = exchange or Exchange()
    n = shard.check(exchange)
    k = resolve_budget(budget, n)
    watch = Stopwatch(shard.gradients.device)
    name = backends.chosen("facility_location", backend, shard.gradients.device)
    cover = _Cover(metric == "sqeuclidean", name, own_workspace_bytes(shard.gradients.device, memory), watch)
    with watch("select"):
        if per_class:
            own = classes(shard, k, exchange)
            shard, picks, way = own.shard, solved(own, cover, exchange), dict[str, Any](path="per class")
        elif name == "cpu":
            shard, picks, way = cover.together(shard, n, k, exchange)
        else:
            picks, way = solved_by_first(everything(shard, k, exchange), cover, exchange), {"path": "on the first rank"}
            shard = shard.sorted()
    coreset = coreset_of(picks, shard, watch, exchange, budget=k, backend=name, **way)
    return coreset.check(n, k, weight_sum=n)


class _Cover:
    """Facility location of problems that are here, or of one that is not anywhere whole."""

    def __init__(self, squared: bool, backend: str, workspace_bytes: int, watch: Stopwatch) -> None:
        self.squared, self.backend, self.workspace_bytes, self.watch = squared, backend, workspace_bytes, watch

    def __call__(self, own: OwnProblems) -> Picks:
        g, budgets = own.shard.gradients, own.own_budgets
        (indices, weights, gains, objectives), report = ops.facility_location(
            g.residuals, g.features, g.bias, self.squared, own.groups.of(budgets), self.workspace_bytes,
            backend=self.backend,
        )  # fmt: skip
        self.watch.add(report.seconds)
        return Picks(indices, weights.double(), gains, budgets, objectives.cpu(), torch.zeros_like(budgets))

    def together(self, shard: Shard, n: int, budget: int, exchange: Exchange) -> tuple[Shard, Picks, dict[str, Any]]:
        """One problem by all ranks; returns the samples as they came to lie, the picks, and how it went."""
        needed = StoredPairs.planned_bytes(n, shard.gradients, exchange.size)
        too_large = int(exchange.maximum(torch.tensor(int(needed > self.workspace_bytes))))
        with self.watch("distances"):
            columns = (ComputedColumns if too_large else StoredPairs)(shard, n, self.squared, exchange)
        with self.watch("greedy"):
            found = global_greedy(columns, n, budget, exchange)
        counts, objective = torch.tensor([budget]), torch.tensor([found.objective], dtype=torch.float64)
        picks = Picks(found.picks, found.sizes.double(), found.gains, counts, objective, torch.zeros_like(counts))
        path = "matrix-free" if too_large else "dense"
        return columns.held, picks, {"path": path, "rounds": found.rounds, "meetings_saved": found.meetings_saved}
