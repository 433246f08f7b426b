"""Arguments of the operators, checked once for every backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from acs_fast._util.checks import FLOATING
from acs_fast.ops.problems import Problems, flattened

MOST_SAMPLES = 2**31 - 1025  # kernels number samples by 32-bit integers


def checked(op: str, implementation: Callable[..., Any]) -> Callable[..., Any]:
    """An implementation of `op` for the arguments of its schema, with a check of them first."""
    check, run = flattened(CHECKS[op]), flattened(implementation)

    @wraps(implementation)
    def kernel(*arguments: Any) -> Any:
        check(*arguments)
        return run(*arguments)

    return kernel


def check_pairwise_distances(residuals: Tensor, features: Tensor, bias: bool, squared: bool) -> None:
    _check_factors(residuals, features)


def check_greedy(distances: Tensor, budget: int) -> None:
    _check_dtype("distances", distances, (torch.float32, torch.float64), "float32 or float64")
    if distances.dim() != 2 or distances.shape[0] != distances.shape[1]:
        raise ValueError(f"distances must be a square matrix [N, N]; got {list(distances.shape)}")
    _check_samples("distances", len(distances))
    if not 0 <= budget <= len(distances):
        raise ValueError(f"budget must be between 0 and N, {len(distances)}; got {budget}")


def check_facility_location(
    residuals: Tensor, features: Tensor, bias: bool, squared: bool, problems: Problems, workspace_bytes: int
) -> None:
    _check_factors(residuals, features)
    _check_problems(residuals, problems)


def check_gradient_matching(
    residuals: Tensor, features: Tensor, bias: bool, problems: Problems, targets: Tensor, ridge: float
) -> None:
    _check_factors(residuals, features)
    _check_problems(residuals, problems)
    _check_dtype("targets", targets, FLOATING, "a floating dtype (float16 to float64)")
    _check_device("targets", targets, residuals)
    shape = [len(problems.budgets), residuals.shape[2], features.shape[2] + bias]
    if list(targets.shape) != shape:
        raise ValueError(f"targets must be [G, C, D (+1)], {shape}; got {list(targets.shape)}")
    if not (math.isfinite(ridge) and ridge >= 0.0):
        raise ValueError(f"ridge must be finite and >= 0; got {ridge}")


def check_packed_greedy(
    distances: Tensor, layout: Tensor, budgets: Tensor, budget: int, largest: Tensor, symmetric: bool
) -> None:
    _check_dtype("distances", distances, (torch.float32, torch.float64), "float32 or float64")
    if distances.dim() != 1 or not distances.is_contiguous():
        raise ValueError(f"distances must be flat and contiguous; got shape {list(distances.shape)}")
    if layout.dtype != torch.int64 or budgets.dtype != torch.int64:
        raise TypeError(f"layout and budgets must be int64; got {layout.dtype} and {budgets.dtype}")
    if layout.device.type != "cpu" or layout.dim() != 2 or layout.shape[1] != 4 or not len(layout):
        raise ValueError(f"layout must be [G, 4] on the CPU, G >= 1; got {list(layout.shape)} on {layout.device}")
    if budgets.device.type != "cpu" or list(budgets.shape) != [len(layout)]:
        raise ValueError(f"budgets must be [{len(layout)}] on the CPU; got {list(budgets.shape)} on {budgets.device}")
    like = (distances.device, distances.dtype, [len(layout)])
    if (largest.device, largest.dtype, list(largest.shape)) != like:
        raise ValueError(
            f"largest must be [{len(layout)}] like the distances; got {list(largest.shape)} {largest.dtype} on "
            f"{largest.device}"
        )
    _check_packed_groups(distances.numel(), layout.tolist(), budgets.tolist())
    if int(budgets.sum()) != budget:
        raise ValueError(f"budget must be the sum of budgets, {int(budgets.sum())}; got {budget}")


def _check_packed_groups(elements: int, layout: list[list[int]], budgets: list[int]) -> None:
    members = 0
    for i, ((first, n, start, stride), k) in enumerate(zip(layout, budgets, strict=True)):
        if first != members or not 1 <= n < 2**31:
            raise ValueError(
                f"layout: group {i} must begin at member {members} and have 1 to 2^31 - 1 members; got {first} and {n}"
            )
        if stride < n or start < 0 or start + (n - 1) * stride + n > elements:
            raise ValueError(
                f"layout: group {i} must lie within {elements} distances; got start {start}, stride {stride}"
            )
        if not 1 <= k <= n:
            raise ValueError(f"budgets: group {i} of {n} members can take 1 to {n} picks; got {k}")
        members += n


def _check_dtype(name: str, x: Tensor, allowed: Sequence[torch.dtype], wanted: str) -> None:
    if x.dtype not in allowed:
        raise TypeError(f"{name} must have {wanted}; got {x.dtype}")


def _check_device(name: str, x: Tensor, residuals: Tensor) -> None:
    if x.device != residuals.device:
        raise ValueError(f"{name} and residuals must be on one device; got {x.device} and {residuals.device}")


def _check_samples(name: str, n: int) -> None:
    if n > MOST_SAMPLES:
        raise ValueError(f"{name} must hold fewer than 2^31 - 1024 samples; got {n}")


def _check_factors(residuals: Tensor, features: Tensor) -> None:
    for name, x, shape in (("residuals", residuals, "[N, R, C]"), ("features", features, "[N, R, D]")):
        _check_dtype(name, x, FLOATING, "a floating dtype (float16 to float64)")
        if x.dim() != 3:
            raise ValueError(f"{name} must be {shape}; got {list(x.shape)}")
    if residuals.shape[:2] != features.shape[:2]:
        raise ValueError(
            f"residuals and features must agree in N and R; got {list(residuals.shape)} and {list(features.shape)}"
        )
    if residuals.dtype != features.dtype:
        raise TypeError(f"residuals and features must share a dtype; got {residuals.dtype} and {features.dtype}")
    _check_device("features", features, residuals)
    _check_samples("residuals", len(residuals))


def _check_problems(residuals: Tensor, problems: Problems) -> None:
    members, offsets, budgets, budget = problems
    for name, x in (("members", members), ("offsets", offsets), ("budgets", budgets)):
        _check_dtype(name, x, (torch.int64,), "dtype int64")
        if x.dim() != 1:
            raise ValueError(f"{name} must have one dimension; got shape {list(x.shape)}")
    _check_device("members", members, residuals)
    if len(offsets) != len(budgets) + 1:
        raise ValueError(f"offsets must have one entry more than budgets; got {len(offsets)} and {len(budgets)}")
    bounds, shares = offsets.tolist(), budgets.tolist()
    if bounds[0] != 0 or bounds[-1] != len(members):
        raise ValueError(
            f"offsets must run from 0 to {len(members)}, the number of members; got {bounds[0]} to {bounds[-1]}"
        )
    for i, k in enumerate(shares):
        size = bounds[i + 1] - bounds[i]
        if size < 0:
            raise ValueError(f"offsets must not decrease; got {bounds[i + 1]} after {bounds[i]}")
        if not 0 <= k <= size:
            raise ValueError(f"budgets must be between 0 and the size of the group; got {k} for group {i} of {size}")
    if sum(shares) != budget:
        raise ValueError(f"budgets must sum to budget, {budget}; got {sum(shares)}")
    if len(members):
        low, high = torch.stack(torch.aminmax(members)).tolist()
        if low < 0 or high >= len(residuals):
            raise ValueError(f"members must lie in [0, {len(residuals)}); got {low if low < 0 else high}")


def check_cross_entropy_residuals(logits: Tensor, labels: Tensor) -> None:
    _check_dtype("logits", logits, FLOATING, "a floating dtype (float16 to float64)")
    _check_dtype("labels", labels, (torch.int64,), "dtype int64")
    if logits.dim() != 2 or list(labels.shape) != [len(logits)]:
        raise ValueError(f"logits must be [B, C] and labels [B]; got {list(logits.shape)} and {list(labels.shape)}")
    if len(labels) and labels.device.type == "cpu":  # on a GPU nobody waits for this
        low, high = torch.stack(torch.aminmax(labels)).tolist()
        if low < 0 or high >= logits.shape[1]:
            raise ValueError(f"labels must lie in [0, {logits.shape[1]}); got {low if low < 0 else high}")


def check_trades_residuals(clean: Tensor, adversarial: Tensor, labels: Tensor, beta: float) -> None:
    check_cross_entropy_residuals(clean, labels)
    if adversarial.shape != clean.shape or adversarial.dtype != clean.dtype:
        raise ValueError(
            f"adversarial must be like clean, {list(clean.shape)} {clean.dtype}; got {list(adversarial.shape)} "
            f"{adversarial.dtype}"
        )


CHECKS: dict[str, Callable[..., None]] = {
    "pairwise_distances": check_pairwise_distances,
    "greedy": check_greedy,
    "facility_location": check_facility_location,
    "gradient_matching": check_gradient_matching,
    "packed_greedy": check_packed_greedy,
    "cross_entropy_residuals": check_cross_entropy_residuals,
    "trades_residuals": check_trades_residuals,
}
