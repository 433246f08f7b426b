"""Operators on tensors: distances, facility location, matching, residuals. They know no model and no data set.

Each has a specification in plain PyTorch (`reference`), whose signature is its schema, and implementations for devices
that the torch dispatcher finds by itself (`cpu`, `cuda`, `triton`); `backends` says which are there. The functions here
run an operator on the dispatcher's choice, or on the backend that one names, and return its values and a report.
"""

from __future__ import annotations

from torch import Tensor

from acs_fast.ops.backends import run
from acs_fast.ops.problems import Problems
from acs_fast.ops.report import Report


def pairwise_distances(
    residuals: Tensor, features: Tensor, bias: bool, squared: bool, *, backend: str = "auto"
) -> tuple[Tensor, Report]:
    """See `acs_fast.ops.reference.pairwise_distances`."""
    return run("pairwise_distances", backend, residuals, features, bias, squared)


def greedy(distances: Tensor, budget: int, *, backend: str = "auto") -> tuple[tuple[Tensor, Tensor, Tensor], Report]:
    """See `acs_fast.ops.reference.greedy`."""
    return run("greedy", backend, distances, budget)


def facility_location(
    residuals: Tensor,
    features: Tensor,
    bias: bool,
    squared: bool,
    problems: Problems,
    workspace_bytes: int,
    *,
    backend: str = "auto",
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Report]:
    """See `acs_fast.ops.reference.facility_location`."""
    return run("facility_location", backend, residuals, features, bias, squared, *problems, workspace_bytes)


def gradient_matching(
    residuals: Tensor,
    features: Tensor,
    bias: bool,
    problems: Problems,
    targets: Tensor,
    ridge: float,
    *,
    backend: str = "auto",
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Report]:
    """See `acs_fast.ops.reference.gradient_matching`."""
    return run("gradient_matching", backend, residuals, features, bias, *problems, targets, ridge)
