"""Distances on dense gradients with what PyTorch offers: `torch.cdist`, or the expansion by one BLAS product."""

from __future__ import annotations

import torch
from torch import Tensor

from acs_fast import LastLayerGradients
from acs_fast.ops.schemas import REFERENCE
from benchmarks.problem import Problem


def distances(problem: Problem, how: str) -> Tensor:
    return pairwise(problem.g, how)


def dense(g: LastLayerGradients) -> Tensor:
    """[N, C*D + C] gradients of one head pass, written once into the memory they stay in."""
    r, h = g.residuals[:, 0], g.features[:, 0]
    (n, c), d = r.shape, h.shape[1]
    x = r.new_empty(n, c * d + c)
    torch.mul(r[:, :, None], h[:, None, :], out=x[:, : c * d].unflatten(1, (c, d)))
    x[:, c * d :] = r
    return x


def pairwise(g: LastLayerGradients, how: str) -> Tensor:
    """[N, N] float32; in place wherever that saves a pass or memory. "factors" is our own reference."""
    if how == "factors":
        return REFERENCE["pairwise_distances"](g.residuals, g.features, g.bias, False)
    x = dense(g)
    if how == "cdist":
        return torch.cdist(x, x)
    norms = torch.linalg.vector_norm(x, dim=1).square_()
    squared = torch.addmm(norms, x, x.T, alpha=-2.0).add_(norms[:, None])
    return squared.clamp_(min=0.0).sqrt_().fill_diagonal_(0.0)
