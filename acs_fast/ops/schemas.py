"""Operator schemas, the reference as their fallback implementation, and shapes for tracing.

A compiled module registers its own implementation of the same names for its device; the torch dispatcher then takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from acs_fast.ops import distances, greedy, matching, packed

LIBRARY = torch.library.Library("acs_fast", "DEF")

_FACTORS = "Tensor residuals, Tensor features, bool bias"
_GROUPS = "Tensor members, Tensor offsets, Tensor budgets, int budget"

SCHEMAS = {
    "pairwise_distances": f"({_FACTORS}, bool squared) -> Tensor",
    "greedy": "(Tensor distances, int budget) -> (Tensor, Tensor, Tensor)",
    "facility_location": (
        f"({_FACTORS}, bool squared, {_GROUPS}, int workspace_bytes) -> (Tensor, Tensor, Tensor, Tensor)"
    ),
    "gradient_matching": f"({_FACTORS}, {_GROUPS}, Tensor targets, float ridge) -> (Tensor, Tensor, Tensor, Tensor)",
    "packed_greedy": (
        "(Tensor distances, Tensor layout, Tensor budgets, int budget, Tensor largest, bool symmetric) "
        "-> (Tensor, Tensor, Tensor, Tensor, Tensor)"
    ),
}

REFERENCE: dict[str, Callable[..., Any]] = {
    "pairwise_distances": distances.pairwise_distances,
    "greedy": greedy.greedy,
    "facility_location": greedy.facility_location,
    "gradient_matching": matching.gradient_matching,
    "packed_greedy": packed.packed_greedy,
}


def _fake_pairwise_distances(residuals: Tensor, features: Tensor, bias: bool, squared: bool) -> Tensor:
    n = residuals.shape[0]
    return residuals.new_empty(n, n, dtype=torch.promote_types(residuals.dtype, torch.float32))


def _fake_greedy(distances: Tensor, budget: int) -> tuple[Tensor, Tensor, Tensor]:
    n = distances.shape[0]
    return (
        distances.new_empty(budget, dtype=torch.int64),
        distances.new_empty(budget, dtype=torch.float64),
        distances.new_empty(n, dtype=torch.int64),
    )


def _fake_facility_location(
    residuals: Tensor,
    features: Tensor,
    bias: bool,
    squared: bool,
    members: Tensor,
    offsets: Tensor,
    budgets: Tensor,
    budget: int,
    workspace_bytes: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        residuals.new_empty(budget, dtype=torch.int64),
        residuals.new_empty(budget, dtype=torch.float32),
        residuals.new_empty(budget, dtype=torch.float64),
        residuals.new_empty(budgets.shape[0], dtype=torch.float64),
    )


def _fake_gradient_matching(
    residuals: Tensor,
    features: Tensor,
    bias: bool,
    members: Tensor,
    offsets: Tensor,
    budgets: Tensor,
    budget: int,
    targets: Tensor,
    ridge: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        residuals.new_empty(budget, dtype=torch.int64),
        residuals.new_empty(budget, dtype=torch.float64),
        residuals.new_empty(budget, dtype=torch.float64),
        torch.empty_like(budgets),
    )


def _fake_packed_greedy(
    distances: Tensor, layout: Tensor, budgets: Tensor, budget: int, largest: Tensor, symmetric: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    members = torch.library.get_ctx().new_dynamic_size()
    return (
        distances.new_empty(budget, dtype=torch.int64),
        distances.new_empty(budget, dtype=torch.float64),
        distances.new_empty(budget, dtype=torch.float32),
        distances.new_empty(members, dtype=torch.int64),
        distances.new_empty(layout.shape[0], dtype=torch.float64),
    )


_FAKE: dict[str, Callable[..., Any]] = {
    "pairwise_distances": _fake_pairwise_distances,
    "greedy": _fake_greedy,
    "facility_location": _fake_facility_location,
    "gradient_matching": _fake_gradient_matching,
    "packed_greedy": _fake_packed_greedy,
}

for _name, _schema in SCHEMAS.items():
    LIBRARY.define(_name + _schema)
    LIBRARY.impl(_name, REFERENCE[_name], "CompositeExplicitAutograd")
    torch.library.register_fake(f"acs_fast::{_name}", _FAKE[_name], lib=LIBRARY)
