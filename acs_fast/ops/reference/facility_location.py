"""Reference: facility location within groups, from factors. The specification of `acs_fast::facility_location`."""

from __future__ import annotations

import torch
from torch import Tensor

from acs_fast._util.dtypes import accumulable_dtype
from acs_fast.ops.problems import Problems
from acs_fast.ops.reference.greedy import Distances, greedy_on
from acs_fast.ops.reference.pairwise_distances import pairwise_distances
from acs_fast.ops.report import note_path, stage


def facility_location(
    residuals: Tensor, features: Tensor, bias: bool, squared: bool, problems: Problems, workspace_bytes: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Greedy facility location within each group, straight from the factors.

    Args:
        residuals, features: [N, R, C] and [N, R, D].
        problems: the groups and their budgets.
        workspace_bytes: a group whose distance matrix is larger is solved matrix-free.

    Returns:
        indices [k] into the N samples, weights [k] float32, gains [k] float64, all by group in pick order; and the
        objective of each group, [G] float64: the sum of the distances to the nearest pick; without picks, the largest
        distance in the group times its size.
    """
    parts = []
    members, offsets, budgets, _ = problems
    bounds = offsets.tolist()
    for a, b, k in zip(bounds[:-1], bounds[1:], budgets.tolist(), strict=True):
        group = members[a:b]
        r, h = residuals[group], features[group]
        dense = is_dense(b - a, r.dtype, workspace_bytes)
        note_path("dense" if dense else "matrix-free", matrix_bytes(b - a, r.dtype) if dense else 0)
        if dense:
            source = Distances.of_matrix(pairwise_distances(r, h, bias, squared))
        else:
            source = Distances.of_gradients(r, h, bias, squared)
        with stage("greedy"):
            picks, gains, assignment, objective = greedy_on(source, k)
        weights = torch.bincount(assignment, minlength=k)[:k].to(torch.float32)
        parts.append((group[picks], weights, gains, objective[None]))
    indices, weights, gains, objectives = (torch.cat(x) for x in zip(*parts, strict=True))
    return indices, weights, gains, objectives


def is_dense(n: int, dtype: torch.dtype, workspace_bytes: int) -> bool:
    """Whether a group of n samples is solved on its whole distance matrix (else matrix-free)."""
    return matrix_bytes(n, dtype) <= workspace_bytes


def matrix_bytes(n: int, dtype: torch.dtype) -> int:
    """Size of the distance matrix of n samples."""
    return n * n * accumulable_dtype(dtype).itemsize
