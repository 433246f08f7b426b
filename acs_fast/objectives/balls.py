"""Norm balls of radius eps around an image: random points, steepest ascent steps, projections. Pixels of [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acs_fast._util.checks import check_choice, check_number


@dataclass(frozen=True)
class LinfBall:
    """Each pixel moves by at most eps."""

    eps: float

    def random(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """A point drawn uniformly from the ball around each x, cut to [0, 1]."""
        noise = unfilled(x).uniform_(-self.eps, self.eps, generator=generator)
        return (x + noise).clamp_(0.0, 1.0)

    def step(self, x: Tensor, gradient: Tensor, alpha: float) -> Tensor:
        """x moved by a step of size alpha in the direction of steepest ascent."""
        return torch.add(x, gradient.sign(), alpha=alpha)

    def project(self, moved: Tensor, x: Tensor) -> Tensor:
        """`moved` brought back to the ball around x and cut to [0, 1]."""
        return torch.clamp(moved, x - self.eps, x + self.eps).clamp_(0.0, 1.0)


@dataclass(frozen=True)
class L2Ball:
    """The whole image moves by at most eps in Euclidean norm; methods as those of `LinfBall`."""

    eps: float

    def random(self, x: Tensor, generator: torch.Generator) -> Tensor:
        noise = unfilled(x).normal_(generator=generator)
        u = torch.empty(len(x), dtype=x.dtype, device=x.device).uniform_(generator=generator)
        radius = self.eps * u ** (1.0 / max(1, x[0].numel() if len(x) else 1))
        return (x + noise * per_image(radius / _norms(noise), x)).clamp_(0.0, 1.0)

    def step(self, x: Tensor, gradient: Tensor, alpha: float) -> Tensor:
        return x + alpha * gradient * per_image(1.0 / _norms(gradient), x)

    def project(self, moved: Tensor, x: Tensor) -> Tensor:
        delta = moved - x
        shrink = (self.eps / _norms(delta)).clamp(max=1.0)
        return (x + delta * per_image(shrink, x)).clamp_(0.0, 1.0)


Ball = LinfBall | L2Ball


def unfilled(x: Tensor) -> Tensor:
    """A tensor like x to fill with random numbers: in one order of its entries, whatever the memory format of x."""
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


def ball(norm: str, eps: float) -> Ball:
    """The ball for norm "linf" or "l2".

    Raises:
        ValueError: unknown norm, eps < 0, or eps > 1 for linf (eps is in pixels of [0, 1]).
    """
    check_choice("norm", norm, ("linf", "l2"))
    eps = check_number("eps", eps, low=0.0)
    if norm == "linf":
        if eps > 1.0:
            raise ValueError(f"eps must be in pixels of [0, 1]; got {eps:g}. Did you mean {eps:g}/255?")
        return LinfBall(eps)
    return L2Ball(eps)


def _norms(x: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norms.clamp_min(torch.finfo(x.dtype).tiny)


def per_image(values: Tensor, x: Tensor) -> Tensor:
    """Values [B] in the dtype of images x [B, ...], to be multiplied with them."""
    return values.view(-1, *(1,) * (x.dim() - 1)).to(x.dtype)
