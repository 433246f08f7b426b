"""Per-sample gradients of the last linear layer, kept as factors: g_i = sum_a r_i^a (x) h_i^a, never multiplied out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from acs_fast._util.checks import as_tensor, check_floating
from acs_fast._util.dtypes import accumulable
from acs_fast._util.precision import full_precision
from acs_fast.ops.reference.pairwise_distances import inner_products, squared_norms


class LastLayerGradients:
    r"""The gradients of N per-sample losses with respect to a linear head ``z = W h + b``, in factored form.

    .. math:: g_i = \Big(\sum_{a \le R} r_i^a \otimes h_i^a,\; \sum_{a \le R} r_i^a\Big)

    where ``r_i^a`` is the gradient of loss i at the logits of head pass a and ``h_i^a`` the head's input in that pass.
    Behaves like a batch of N samples: ``len``, indexing by anything that keeps the first dimension, ``.to``.

    Args:
        residuals: [N, C] or [N, R, C], floating: gradients of the loss at the logits.
        features: [N, D] or [N, R, D], same dtype and device: inputs of the head.
        bias: whether the head has a bias, whose gradient is then part of every g_i.

    Raises:
        TypeError: a factor is no floating tensor, or their dtypes differ.
        ValueError: shapes or devices do not fit together.

    Example:
        >>> g = LastLayerGradients(torch.randn(6, 3), torch.randn(6, 4))
        >>> len(g), g.dense().shape, g.gram().shape, g[:2].total().shape
        (6, torch.Size([6, 15]), torch.Size([6, 6]), torch.Size([3, 5]))
    """

    __slots__ = ("bias", "features", "residuals")

    def __init__(self, residuals: Tensor, features: Tensor, bias: bool = True) -> None:
        residuals = check_floating("residuals", residuals).detach()
        features = check_floating("features", features).detach()
        if residuals.dim() not in (2, 3) or features.dim() != residuals.dim():
            raise ValueError(
                "residuals and features must be [N, C] and [N, D], or [N, R, C] and [N, R, D]; "
                f"got {list(residuals.shape)} and {list(features.shape)}"
            )
        if residuals.shape[:-1] != features.shape[:-1]:
            raise ValueError(
                "residuals and features must agree in all but the last dimension; "
                f"got {list(residuals.shape)} and {list(features.shape)}"
            )
        if residuals.dtype != features.dtype:
            raise TypeError(f"residuals and features must share a dtype; got {residuals.dtype} and {features.dtype}")
        if residuals.device != features.device:
            raise ValueError(
                f"residuals and features must be on one device; got {residuals.device} and {features.device}"
            )
        self.residuals = residuals if residuals.dim() == 3 else residuals[:, None]
        self.features = features if features.dim() == 3 else features[:, None]
        self.bias = bool(bias)

    @classmethod
    def from_vectors(cls, vectors: Any) -> LastLayerGradients:
        """Any vectors [N, P] as gradients with one class and no bias: inner products are those of the vectors."""
        vectors = check_floating("x", vectors)
        if vectors.dim() != 2:
            raise ValueError(f"x must be LastLayerGradients or a tensor [N, P]; got shape {list(vectors.shape)}")
        return cls(vectors.new_ones(vectors.shape[0], 1), vectors, bias=False)

    def __len__(self) -> int:
        return self.residuals.shape[0]

    def __getitem__(self, index: Any) -> LastLayerGradients:
        chosen = self._chosen(index)
        return LastLayerGradients(self.residuals[chosen], self.features[chosen], self.bias)

    def _chosen(self, index: Any) -> slice | Tensor:
        """An index of samples in a form that keeps the first dimension. Raises IndexError where it is none."""
        if isinstance(index, slice):
            return self._sliced(index)
        try:
            known = isinstance(index, (Tensor, np.ndarray))
            numbers = as_tensor("index", index) if known else torch.as_tensor(index)
        except (TypeError, ValueError, RuntimeError):  # all that torch raises for what is no number
            numbers = torch.empty(0, 0)
        if not numbers.numel() and numbers.dim() == 1:
            return slice(0, 0)
        mask = numbers.dtype == torch.bool
        whole = not (numbers.is_floating_point() or numbers.is_complex())
        if isinstance(index, tuple) or not whole or numbers.dim() > 1 or (mask and not numbers.dim()):
            raise IndexError("index must select samples: an int, a slice, a list, or a tensor of numbers or booleans")
        if mask and len(numbers) != len(self):
            raise IndexError(f"index must be a mask of {len(self)} samples; got {len(numbers)}")
        if mask:
            return numbers.to(self.device)
        numbers = numbers.to(self.device, torch.int64).reshape(-1)
        if self.device.type == "cpu":  # elsewhere the check would wait for the device
            outside = (numbers < -len(self)) | (numbers >= len(self))
            if bool(outside.any()):
                raise IndexError(f"index {int(numbers[outside][0])} is out of range for {len(self)} samples")
        return numbers

    def _sliced(self, index: slice) -> slice | Tensor:
        try:
            start, stop, step = index.indices(len(self))
        except (TypeError, ValueError):
            raise IndexError(f"index must be a slice of whole numbers with a step other than 0; got {index}") from None
        if step > 0:
            return slice(start, stop, step)
        return torch.tensor(range(start, stop, step), dtype=torch.int64, device=self.device)

    def __repr__(self) -> str:
        n, r, c = self.residuals.shape
        return (
            f"LastLayerGradients(N={n}, R={r}, C={c}, D={self.features.shape[-1]}, bias={self.bias}, "
            f"{self.dtype}, {self.device})"
        )

    @property
    def _widths(self) -> tuple[int, int]:
        return self.residuals.shape[-1], self.features.shape[-1]

    @property
    def dtype(self) -> torch.dtype:
        return self.residuals.dtype

    @property
    def device(self) -> torch.device:
        return self.residuals.device

    def to(self, *args: Any, **kwargs: Any) -> LastLayerGradients:
        """Like ``Tensor.to``: another device, dtype, or both."""
        return LastLayerGradients(self.residuals.to(*args, **kwargs), self.features.to(*args, **kwargs), self.bias)

    def dense(self) -> Tensor:
        """[N, C*D (+C)]: the weight gradient row-major, then the bias gradient. For tests and small data."""
        with full_precision(self.device.type):
            weight = torch.einsum("nrc,nrd->ncd", self.residuals, self.features).flatten(1)
        return torch.cat([weight, self.residuals.sum(1)], 1) if self.bias else weight

    def gram(self, other: LastLayerGradients | None = None) -> Tensor:
        """[N, M] inner products with the samples of `other` (default: with its own)."""
        other = self if other is None else other
        if self.bias != other.bias or self._widths != other._widths:
            raise ValueError(f"other must have the same C, D and bias; got {self!r} and {other!r}")
        if self.dtype != other.dtype or self.device != other.device:
            raise TypeError(f"other must have the same dtype and device; got {self!r} and {other!r}")
        with full_precision(self.device.type):
            return inner_products(*_accumulable(self), *_accumulable(other), self.bias)

    def squared_norms(self) -> Tensor:
        """[N] squared Euclidean norms of the gradients."""
        with full_precision(self.device.type):
            return squared_norms(*_accumulable(self), self.bias)

    def total(self, weights: Tensor | None = None) -> Tensor:
        """[C, D (+1)]: the (weighted) sum of all gradients, the bias in the last column; one small matrix product.

        Args:
            weights: [N] or None for all ones.
        """
        weights = None if weights is None else as_tensor("weights", weights)
        if weights is not None and weights.shape != (len(self),):
            raise ValueError(f"weights must have shape [{len(self)}]; got {list(weights.shape)}")
        if weights is not None and weights.is_complex():
            raise TypeError(f"weights must be real; got {weights.dtype}")
        r, h = _accumulable(self)
        if weights is not None:
            r = r * weights.to(r)[:, None, None]
        with full_precision(self.device.type):
            weight = r.flatten(0, 1).T @ h.flatten(0, 1)
        return torch.cat([weight, r.sum((0, 1))[:, None]], 1) if self.bias else weight


def _accumulable(g: LastLayerGradients) -> tuple[Tensor, Tensor]:
    """The factors in a dtype that sums may be taken in: half precision becomes float32."""
    return accumulable(g.residuals), accumulable(g.features)
