"""Reference: greedy on one matrix per group, side by side in memory. The specification of `acs_fast::packed_greedy`."""

from __future__ import annotations

import torch
from torch import Tensor

from acs_fast.ops.reference.greedy import Distances, greedy_on

ROW_ALIGNMENT = 32  # rows begin at multiples of so many elements


def packed_layout(offsets: Tensor, alignment: int = ROW_ALIGNMENT) -> tuple[Tensor, int]:
    """[G, 4] as `packed_greedy` takes it, for groups between `offsets` [G + 1], and how many elements it takes."""
    sizes = offsets.diff()
    strides = (sizes + alignment - 1).div(alignment, rounding_mode="floor") * alignment
    ends = (sizes * strides).cumsum(0)
    return torch.stack([offsets[:-1], sizes, ends - sizes * strides, strides], 1), int(ends[-1]) if len(ends) else 0


def packed_greedy(
    distances: Tensor, layout: Tensor, budgets: Tensor, budget: int, largest: Tensor, symmetric: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Greedy facility location within each of G groups.

    Args:
        distances: [E] the groups' matrices.
        layout: [G, 4] int64 on the CPU: first member, size, first element of the matrix, row stride. Members are
            numbered from 0, group after group.
        budgets: [G] int64 on the CPU, and their sum, k.
        largest: [G] the largest distance of each group.
        symmetric: whether each matrix is, so that a column may be read as a row.

    Returns:
        picks [k] int64 (numbers within their group), gains [k] float64, weights [k] float32, assignment [N] int64 to
        the step of the pick within its group, objective [G] float64.
    """
    parts = []
    for (_, n, start, stride), k in zip(layout.tolist(), budgets.tolist(), strict=True):
        matrix = distances.as_strided((n, n), (stride, 1), distances.storage_offset() + start)
        picks, gains, assignment, objective = greedy_on(Distances.of_matrix(matrix), k)
        weights = torch.bincount(assignment, minlength=k).to(torch.float32)
        parts.append((picks, gains, weights, assignment, objective[None]))
    picks, gains, weights, assignment, objective = (torch.cat(x) for x in zip(*parts, strict=True))
    return picks, gains, weights, assignment, objective
