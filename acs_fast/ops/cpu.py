"""The compiled operators on the CPU: outputs are allocated here; the work is done without the interpreter's lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from acs_fast._util.dtypes import accumulable
from acs_fast.ops import compiled
from acs_fast.ops.problems import Problems
from acs_fast.ops.reference.facility_location import matrix_bytes
from acs_fast.ops.report import note_path, note_seconds


def pairwise_distances(residuals: Tensor, features: Tensor, bias: bool, squared: bool) -> Tensor:
    """As the reference."""
    r, h = _contiguous(residuals), _contiguous(features)
    n = len(r)
    distances = r.new_empty(n, n)
    _run("pairwise_distances", _factors(r, h, bias), squared, torch.get_num_threads(), distances.data_ptr())
    return distances


def greedy(distances: Tensor, budget: int) -> tuple[Tensor, Tensor, Tensor]:
    """As the reference.

    Raises:
        ValueError: a distance is negative or not finite.
    """
    d = distances.detach().contiguous()
    indices = torch.empty(budget, dtype=torch.int64)
    gains = torch.empty(budget, dtype=torch.float64)
    assignment = torch.empty(len(d), dtype=torch.int64)
    _run(
        "greedy", d.data_ptr(), d.dtype == torch.float64, len(d), budget, torch.get_num_threads(),
        indices.data_ptr(), gains.data_ptr(), assignment.data_ptr(),
    )  # fmt: skip
    return indices, gains, assignment


def facility_location(
    residuals: Tensor, features: Tensor, bias: bool, squared: bool, problems: Problems, workspace_bytes: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As the reference; many small groups side by side, large ones by all threads together.

    Everything that is allocated counts towards `workspace_bytes`: a group is solved on its matrix where that fits with
    what stands beside it, and else on as many tiles of it as do.
    """
    assert compiled.MODULE is not None
    r, h = _contiguous(residuals), _contiguous(features)
    problems = _contiguous_problems(problems)
    factors, threads = _factors(r, h, bias), torch.get_num_threads()
    results = (len(r) + 5 * problems.budget) * 8  # members, indices, gains, weights, and those the caller makes of them
    copies = sum(x.nbytes for x, given in ((r, residuals), (h, features)) if x.data_ptr() != given.data_ptr())
    workspace_bytes = max(0, workspace_bytes - results - copies)
    for n, k in zip(problems.offsets.diff().tolist(), problems.budgets.tolist(), strict=True):
        dense = compiled.MODULE.facility_location_dense_bytes(factors, n, threads, k) <= workspace_bytes
        note_path("dense" if dense else "matrix-free", matrix_bytes(n, residuals.dtype) if dense else 0)
    indices = torch.empty(problems.budget, dtype=torch.int64)
    weights = torch.empty(problems.budget, dtype=torch.float32)
    gains = torch.empty(problems.budget, dtype=torch.float64)
    objectives = torch.empty(len(problems.budgets), dtype=torch.float64)
    _run(
        "facility_location", factors, squared, _problems(problems), workspace_bytes,
        threads, indices.data_ptr(), weights.data_ptr(), gains.data_ptr(), objectives.data_ptr(),
    )  # fmt: skip
    return indices, weights, gains, objectives


def gradient_matching(
    residuals: Tensor, features: Tensor, bias: bool, problems: Problems, targets: Tensor, ridge: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As the reference; by Gram columns while those are cheaper, then by screening all samples at each pick."""
    r, h = _contiguous(residuals), _contiguous(features)
    problems = _contiguous_problems(problems)
    goals = targets.detach().to(torch.float64).contiguous()
    indices = torch.full((problems.budget,), -1)
    weights = torch.zeros(problems.budget, dtype=torch.float64)
    gains = torch.zeros(problems.budget, dtype=torch.float64)
    counts = torch.empty(len(problems.budgets), dtype=torch.int64)
    seconds = _run(
        "gradient_matching", _factors(r, h, bias), _problems(problems), goals.data_ptr(), ridge,
        torch.get_num_threads(), indices.data_ptr(), weights.data_ptr(), gains.data_ptr(), counts.data_ptr(),
    )  # fmt: skip
    for path in ("columns", "screening"):
        if seconds[path] > 0.0:
            note_path(path)
    return indices, weights, gains, counts


def _run(op: str, *arguments: Any) -> dict[str, float]:
    seconds: dict[str, float] = getattr(compiled.MODULE, op)(*arguments)
    note_seconds(seconds)
    return seconds


def _contiguous(x: Tensor) -> Tensor:
    return accumulable(x.detach()).contiguous()


def _factors(r: Tensor, h: Tensor, bias: bool) -> Any:
    return compiled.MODULE.Factors(r.data_ptr(), h.data_ptr(), r.dtype == torch.float64, *r.shape, h.shape[2], bias)


def _contiguous_problems(problems: Problems) -> Problems:
    members, offsets, budgets, budget = problems
    return Problems(members.contiguous(), offsets.contiguous(), budgets.contiguous(), budget)


def _problems(contiguous: Problems) -> Any:
    members, offsets, budgets, _ = contiguous
    return compiled.MODULE.Problems(members.data_ptr(), offsets.data_ptr(), budgets.data_ptr(), len(budgets))


IMPLEMENTATIONS: dict[str, Callable[..., Any]] = {
    "pairwise_distances": pairwise_distances,
    "greedy": greedy,
    "facility_location": facility_location,
    "gradient_matching": gradient_matching,
}
