"""Operators of the torch dispatcher: schemas, the reference as fallback, the compiled kernels, shapes for tracing.

The signature of a reference is the schema of its operator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from acs_fast._util.dtypes import accumulable_dtype
from acs_fast.ops import compiled, cpu
from acs_fast.ops.checks import checked
from acs_fast.ops.problems import Problems, flattened
from acs_fast.ops.reference import (
    facility_location,
    gradient_matching,
    greedy,
    packed_greedy,
    pairwise_distances,
    residuals,
)

LIBRARY = torch.library.Library("acs_fast", "DEF")

REFERENCE: dict[str, Callable[..., Any]] = {
    "pairwise_distances": pairwise_distances.pairwise_distances,
    "greedy": greedy.greedy,
    "facility_location": facility_location.facility_location,
    "gradient_matching": gradient_matching.gradient_matching,
    "packed_greedy": packed_greedy.packed_greedy,
    "cross_entropy_residuals": residuals.cross_entropy_residuals,
    "trades_residuals": residuals.trades_residuals,
}

SCHEMAS = {
    name: torch.library.infer_schema(flattened(function), mutates_args=()) for name, function in REFERENCE.items()
}


def _empty(like: Tensor, *wanted: tuple[Any, torch.dtype]) -> tuple[Tensor, ...]:
    """Tensors of these sizes and dtypes on the device of another one."""
    return tuple(like.new_empty(size, dtype=dtype) for size, dtype in wanted)


def _fake_pairwise_distances(residuals: Tensor, features: Tensor, bias: bool, squared: bool) -> Tensor:
    n = residuals.shape[0]
    return residuals.new_empty(n, n, dtype=accumulable_dtype(residuals.dtype))


def _fake_greedy(distances: Tensor, budget: int) -> tuple[Tensor, ...]:
    return _empty(distances, (budget, torch.int64), (budget, torch.float64), (distances.shape[0], torch.int64))


def _fake_facility_location(
    residuals: Tensor, features: Tensor, bias: bool, squared: bool, problems: Problems, workspace_bytes: int
) -> tuple[Tensor, ...]:
    k, groups = problems.budget, problems.budgets.shape[0]
    return _empty(residuals, (k, torch.int64), (k, torch.float32), (k, torch.float64), (groups, torch.float64))


def _fake_gradient_matching(
    residuals: Tensor, features: Tensor, bias: bool, problems: Problems, targets: Tensor, ridge: float
) -> tuple[Tensor, ...]:
    k = problems.budget
    picked = _empty(residuals, (k, torch.int64), (k, torch.float64), (k, torch.float64))
    return (*picked, torch.empty_like(problems.budgets))


def _fake_packed_greedy(
    distances: Tensor, layout: Tensor, budgets: Tensor, budget: int, largest: Tensor, symmetric: bool
) -> tuple[Tensor, ...]:
    members = torch.library.get_ctx().new_dynamic_size()
    picked = (budget, torch.int64), (budget, torch.float64), (budget, torch.float32)
    return _empty(distances, *picked, (members, torch.int64), (layout.shape[0], torch.float64))


def _fake_cross_entropy_residuals(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.new_empty(logits.shape, dtype=accumulable_dtype(logits.dtype))


def _fake_trades_residuals(clean: Tensor, adversarial: Tensor, labels: Tensor, beta: float) -> Tensor:
    return clean.new_empty(clean.shape[0], 2, clean.shape[1], dtype=accumulable_dtype(clean.dtype))


_FAKE: dict[str, Callable[..., Any]] = {
    "pairwise_distances": _fake_pairwise_distances,
    "greedy": _fake_greedy,
    "facility_location": _fake_facility_location,
    "gradient_matching": _fake_gradient_matching,
    "packed_greedy": _fake_packed_greedy,
    "cross_entropy_residuals": _fake_cross_entropy_residuals,
    "trades_residuals": _fake_trades_residuals,
}

for _name, _reference in REFERENCE.items():
    LIBRARY.define(_name + SCHEMAS[_name])
    LIBRARY.impl(_name, checked(_name, _reference), "CompositeExplicitAutograd")
    torch.library.register_fake(f"acs_fast::{_name}", flattened(_FAKE[_name]), lib=LIBRARY)
    if compiled.MODULE is not None and _name in cpu.IMPLEMENTATIONS:
        LIBRARY.impl(_name, checked(_name, cpu.IMPLEMENTATIONS[_name]), "CPU")
