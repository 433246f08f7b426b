"""The compiled greedy on a GPU: outputs and workspace are allocated here, the work is queued on the current stream."""

from __future__ import annotations

import torch
from torch import Tensor

from acs_fast.ops import compiled


def packed_greedy(
    distances: Tensor, layout: Tensor, budgets: Tensor, budget: int, largest: Tensor, symmetric: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """As the reference, all groups in one launch."""
    device, table, shares, top = distances.device, layout.contiguous(), budgets.contiguous(), largest.contiguous()
    number = torch.cuda.current_device() if device.index is None else device.index
    with torch.cuda.device(number):
        run = compiled.MODULE.GreedyRun(
            number, distances.dtype == torch.float64, table.data_ptr(), shares.data_ptr(), len(table)
        )
        host = torch.empty(run.table_bytes, dtype=torch.uint8, pin_memory=True)
        run.write_table(host.data_ptr())
        on_device = host.to(device, non_blocking=True)
        zeros = torch.zeros(run.zeros_bytes, dtype=torch.uint8, device=device)
        scratch = torch.empty(run.scratch_bytes, dtype=torch.uint8, device=device)
        picks = torch.empty(budget, dtype=torch.int64, device=device)
        gains = torch.empty(budget, dtype=torch.float64, device=device)
        weights = torch.zeros(budget, dtype=torch.float32, device=device)
        assignment = torch.empty(int(table[:, 1].sum()), dtype=torch.int64, device=device)
        objective = torch.zeros(len(table), dtype=torch.int64, device=device)
        unit = torch.empty(len(table), dtype=torch.float64, device=device)
        memory = (on_device, zeros, scratch, picks, gains, weights, assignment, objective, unit)
        stream = torch.cuda.current_stream(device).cuda_stream
        run.launch(distances.data_ptr(), top.data_ptr(), symmetric, *(x.data_ptr() for x in memory), stream)
    return picks, gains, weights, assignment, objective.to(torch.float64).mul_(unit)
