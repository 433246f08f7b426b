"""From picks to a coreset: the exact gradient error over all ranks, and statistics."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from acs_fast._util.exchange import Exchange
from acs_fast._util.memory import workspace_bytes
from acs_fast._util.stopwatch import Stopwatch
from acs_fast.coreset import Coreset
from acs_fast.selection.common import relative_error, total
from acs_fast.selection.distributed.per_class import Picks
from acs_fast.selection.distributed.shard import Shard


def coreset_of(
    picks: Picks, shard: Shard, watch: Stopwatch, exchange: Exchange, target: Tensor | None = None, **stats: Any
) -> Coreset:
    """The coreset on every rank.

    Args:
        shard: in ascending order of number; every sample belongs to one rank's.
        target: of the gradient error; see `gradient_error`.
    """
    weights = picks.weights.float()
    with watch("error"):
        error = gradient_error(shard, picks.indices, weights, exchange, target)
    common = {"relative_gradient_error": error, "objective": float(picks.objectives.sum()), "filled": 0}
    stats = {**common, **stats, "seconds": watch.seconds(), "exchange": exchange.report()}
    return Coreset(picks.indices, weights, picks.gains.float(), stats)


def gradient_error(
    shard: Shard, indices: Tensor, weights: Tensor, exchange: Exchange, target: Tensor | None = None
) -> float:
    """||sum_S w g - target|| / ||target||, every rank adding up its own samples.

    Args:
        shard: in ascending order of number.
        indices, weights: [k] the coreset.
        target: [C, D (+1)], by default the sum of all gradients.
    """
    place = torch.searchsorted(shard.index, indices).clamp_max(max(0, len(shard) - 1))
    here = shard.index[place] == indices if len(shard) else torch.zeros_like(indices, dtype=torch.bool)
    found = total(shard.gradients[place[here]], weights[here])
    if target is None:
        found, target = exchange.sum(torch.stack([found, total(shard.gradients)])).unbind()
    else:
        found = exchange.sum(found)
    return relative_error(found, target)


def own_workspace_bytes(device: torch.device, memory: int | None) -> int:
    """`memory`, or this process's part of what its device has; on a CPU the ranks of a machine share that."""
    if memory is not None:
        return workspace_bytes(device, memory)
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if device.type == "cpu" else 1
    return workspace_bytes(device) // max(1, ranks)
