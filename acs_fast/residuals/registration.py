"""Schemas of the residual operators, the reference as their fallback, shapes for tracing, and Triton on a GPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from acs_fast.residuals import reference

LIBRARY = torch.library.Library("acs_fast", "FRAGMENT")

SCHEMAS = {
    "cross_entropy_residuals": "(Tensor logits, Tensor labels) -> (Tensor, Tensor)",
    "trades_residuals": "(Tensor clean, Tensor adversarial, Tensor labels, float beta) -> (Tensor, Tensor)",
}


def _fake_cross_entropy_residuals(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return logits.new_empty(logits.shape, dtype=dtype), logits.new_empty(logits.shape[0], dtype=dtype)


def _fake_trades_residuals(clean: Tensor, adversarial: Tensor, labels: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(clean.dtype, torch.float32)
    samples, classes = clean.shape
    return clean.new_empty(samples, 2, classes, dtype=dtype), clean.new_empty(samples, 2, dtype=dtype)


def cross_entropy_on_gpu(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """As the reference, in one launch; float64 is left to torch."""
    if logits.dtype == torch.float64:
        return reference.cross_entropy_residuals(logits, labels)
    from acs_fast.residuals import kernels

    with torch.cuda.device_of(logits):  # Triton launches on the current device
        return kernels.cross_entropy_residuals(logits, labels)


def trades_on_gpu(clean: Tensor, adversarial: Tensor, labels: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """As the reference, in one launch; float64 is left to torch."""
    if clean.dtype == torch.float64:
        return reference.trades_residuals(clean, adversarial, labels, beta)
    from acs_fast.residuals import kernels

    with torch.cuda.device_of(clean):
        return kernels.trades_residuals(clean, adversarial, labels, beta)


_OPERATORS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    "cross_entropy_residuals": (
        reference.cross_entropy_residuals, _fake_cross_entropy_residuals, cross_entropy_on_gpu
    ),
    "trades_residuals": (reference.trades_residuals, _fake_trades_residuals, trades_on_gpu),
}  # fmt: skip

for _name, (_reference, _fake, _on_gpu) in _OPERATORS.items():
    LIBRARY.define(_name + SCHEMAS[_name])
    LIBRARY.impl(_name, _reference, "CompositeExplicitAutograd")
    torch.library.register_fake(f"acs_fast::{_name}", _fake, lib=LIBRARY)
    if importlib.util.find_spec("triton") is not None:
        LIBRARY.impl(_name, _on_gpu, "CUDA")
