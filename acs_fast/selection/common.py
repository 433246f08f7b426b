"""Input checks and the exact gradient error of both selection algorithms."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from acs_fast._util.checks import check_finite, check_floating, check_integers
from acs_fast._util.dtypes import accumulable_dtype
from acs_fast._util.stopwatch import Stopwatch
from acs_fast.coreset import Coreset
from acs_fast.gradients.factored import LastLayerGradients


def gradient_error(g: LastLayerGradients, indices: Tensor, weights: Tensor, target: Tensor | None = None) -> float:
    """||sum_S w g - target|| / ||target|| in float64, the target being the sum of all gradients unless given.

    Args:
        g: N gradients.
        indices, weights: [k] the coreset.
        target: [C, D (+1)] or None.

    Raises:
        ValueError, TypeError: indices, weights or a target of another shape or dtype, or indices outside [0, N).
    """
    indices = check_integers("indices", indices, len(g)).to(g.device)
    weights = check_floating("weights", weights).to(g.device)
    if weights.shape != indices.shape:
        raise ValueError(f"weights must be one per index, [{len(indices)}]; got {list(weights.shape)}")
    shape = (g.residuals.shape[-1], g.features.shape[-1] + int(g.bias))
    target = total(g) if target is None else check_floating("target", target).to(g.device, torch.float64)
    if target.shape != shape:
        raise ValueError(f"target must have shape {list(shape)}; got {list(target.shape)}")
    return relative_error(total(g[indices], weights), target)


def relative_error(found: Tensor, target: Tensor) -> float:
    """||found - target|| / ||target||; of a target of zeros 0 where it is met, else infinity."""
    error, scale = float((found - target).norm()), float(target.norm())
    return error / scale if scale != 0.0 else (0.0 if error == 0.0 else math.inf)


def as_gradients(x: Any) -> LastLayerGradients:
    g = x if isinstance(x, LastLayerGradients) else LastLayerGradients.from_vectors(x)
    if not len(g):
        raise ValueError("x must hold at least one sample; got none")
    check_finite("gradients", g.residuals, g.features)
    if not math.isfinite(_bound_of_squared_norms(g)):
        check_finite("squared norms of the gradients (the gradients are too large)", g.squared_norms())
        _check_distances_are_finite(g)
    return g


def _check_distances_are_finite(g: LastLayerGradients) -> None:
    """Raise ValueError where a squared distance, or a term of one, may be infinite."""
    r, h = (x.double().norm(dim=2).amax(0) for x in (g.residuals, g.features))
    terms = float((r * (h + 1.0)).sum()) * 16.0  # four of moved factors, each up to twice as large, with room to spare
    dtype = accumulable_dtype(g.dtype)
    if not terms * terms < torch.finfo(dtype).max:
        raise ValueError(
            f"gradients are too large: with residuals up to {float(r.max()):.3g} and features up to "
            f"{float(h.max()):.3g} squared distances may be infinite in {str(dtype).removeprefix('torch.')}; scale them"
        )


def _bound_of_squared_norms(g: LastLayerGradients) -> float:
    """Above every term of squared norms and distances, in their own arithmetic; infinite where one may overflow."""
    largest = (x.abs().max() if x.numel() else x.new_zeros(()) for x in (g.residuals, g.features))
    r, h = (x.to(accumulable_dtype(g.dtype)) for x in largest)
    passes, classes, width = *g.residuals.shape[1:], g.features.shape[-1]
    return float(256.0 * (passes * r).square() * classes * (h.square() * width + 1.0))


def finish(
    g: LastLayerGradients,
    indices: Tensor,
    weights: Tensor,
    gains: Tensor,
    watch: Stopwatch,
    target: Tensor | None = None,
    **stats: Any,
) -> Coreset:
    """A coreset with its exact gradient error and the seconds of every stage."""
    weights = weights.float()
    with watch("error"):
        error = gradient_error(g, indices, weights, target)
    stats = {"relative_gradient_error": error, "filled": 0, **stats, "seconds": watch.seconds()}
    return Coreset(indices, weights, gains.float(), stats)


def total(g: LastLayerGradients, weights: Tensor | None = None, rows_at_once: int = 1 << 11) -> Tensor:
    """`g.total(weights)` in float64, a slice of the samples at a time to save memory."""
    ones = torch.ones(len(g), device=g.device) if weights is None else weights
    found = g[:rows_at_once].to(torch.float64).total(ones[:rows_at_once])
    for start in range(rows_at_once, len(g), rows_at_once):
        part = slice(start, start + rows_at_once)
        found += g[part].to(torch.float64).total(ones[part])
    return found
