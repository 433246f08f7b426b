"""Argument checks shared by every public function: each message names the argument, what was expected, what came."""

from __future__ import annotations

import math
import numbers
from collections import deque
from collections.abc import Collection, Hashable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MAX_NAMED = 8  # how many offending samples an error message lists


def check_choice(name: str, value: Any, choices: Collection[str]) -> str:
    if not isinstance(value, Hashable) or value not in choices:  # arrays compare by element, and are not
        raise ValueError(f"{name} must be one of {', '.join(map(repr, sorted(choices)))}; got {value!r}")
    return str(value)


def check_number(
    name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, above: bool = False
) -> float:
    """A finite number in [low, high], or in (low, high] when `above` is set."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number; got {type(value).__name__}")
    number = float(value)
    too_low = number <= low if above else number < low
    if not math.isfinite(number) or too_low or number > high:
        bounds = f"{'(' if above else '['}{low:g}, {high:g}{')' if math.isinf(high) else ']'}"
        raise ValueError(f"{name} must be finite and in {bounds}; got {value!r}")
    return number


def check_count(name: str, value: Any, low: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an int; got {type(value).__name__}")
    if int(value) < low:
        raise ValueError(f"{name} must be at least {low}; got {value}")
    return int(value)


def as_tensor(name: str, x: Any, like: Tensor | None = None) -> Tensor:
    """The tensor, or the NumPy array as one: a copy where torch has no such strides or byte order.

    Args:
        name: of the argument, for messages.
        x: is given.
        like: an array comes to its device and, where both are floating, in its dtype: NumPy computes in float64.

    Raises:
        TypeError: neither, an array of a dtype that torch does not have, or a tensor that is sparse or without values.
    """
    is_array = isinstance(x, np.ndarray)
    given = check_tensor(name, _of_array(name, x) if is_array else x, "torch.Tensor or a NumPy array")
    return placed(given, like) if is_array and like is not None else given


def as_tensors(model: nn.Module, **arguments: Any) -> list[Any]:
    """Arguments of a call with a model, arrays as tensors on the device and in the floating dtype of its parameters."""
    if not any(isinstance(x, np.ndarray) for x in arguments.values()):
        return list(arguments.values())
    like = next(model.parameters(), torch.empty(0))
    return [as_tensor(name, x, like) if isinstance(x, np.ndarray) else x for name, x in arguments.items()]


def as_numbers(name: str, x: Any) -> Tensor:
    """A tensor or an array as `as_tensor` takes them, or a number or lists of numbers. Raises TypeError for others."""
    if isinstance(x, (Tensor, np.ndarray)):
        return as_tensor(name, x)
    try:
        return torch.as_tensor(x)
    except (TypeError, ValueError, RuntimeError):  # all that torch raises for what is no number
        raise TypeError(f"{name} must hold numbers; got {type(x).__name__}") from None


def as_integers(name: str, x: Any) -> Tensor:
    """int64 of what `as_numbers` takes. Raises TypeError for values that are no integers."""
    given = as_numbers(name, x)
    if given.numel() and (given.dtype.is_floating_point or given.dtype.is_complex or given.dtype == torch.bool):
        raise TypeError(f"{name} must hold integers; got {given.dtype}")
    return given.to(torch.int64)


def placed(x: Tensor, like: Tensor) -> Tensor:
    """A tensor on the device of another one and, where both are floating, in its dtype."""
    dtype = like.dtype if x.is_floating_point() and like.is_floating_point() else x.dtype
    return x.to(like.device, dtype, non_blocking=True)


def check_tensor(name: str, x: Any, expected: str = "torch.Tensor") -> Tensor:
    """The dense tensor. Raises TypeError for anything else, and for a tensor that is sparse or without values."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a {expected}; got {type(x).__name__}")
    if x.layout != torch.strided or x.is_meta:
        raise TypeError(f"{name} must be a dense tensor with values; got {x.layout} on device {x.device}")
    return x


def _of_array(name: str, x: np.ndarray) -> Tensor:
    if not x.dtype.isnative or any(stride < 0 for stride in x.strides):
        x = x.astype(x.dtype.newbyteorder("="), order="C")
    try:
        return torch.from_numpy(x)
    except TypeError:
        raise TypeError(f"{name} must have a dtype that torch has too; got an array of {x.dtype}") from None


def check_floating(name: str, x: Any) -> Tensor:
    """The floating tensor, or the NumPy array as one. Raises TypeError for anything else, as `as_tensor` does."""
    given = as_tensor(name, x)
    if given.dtype not in FLOATING:
        raise TypeError(f"{name} must have a floating dtype (float16 to float64); got {given.dtype}")
    return given


def check_integers(name: str, x: Any, n: int | None = None) -> Tensor:
    """The tensor or array of integers [N], or of numbers in [0, n) where n is given, as int64.

    Raises:
        TypeError: other values, or as `as_tensor`.
        ValueError: another shape, or a number outside.
    """
    given = as_tensor(name, x)
    if given.dtype.is_floating_point or given.dtype.is_complex or given.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers; got {given.dtype}")
    if given.dim() != 1:
        raise ValueError(f"{name} must have one dimension; got shape {list(given.shape)}")
    given = given.to(torch.int64)
    if n is not None and len(given):
        low, high = torch.stack(torch.aminmax(given)).tolist()
        if low < 0 or high >= n:
            raise ValueError(f"{name} must hold numbers in [0, {n}); got {low if low < 0 else high}")
    return given


def check_finite(name: str, *tensors: Tensor) -> None:
    """Raise ValueError, naming the samples (rows), for NaN or infinity in any of `tensors` [N, ...]."""
    if all(_is_finite(x) for x in tensors):
        return
    bad: Tensor | None = None
    for x in tensors:
        rows = ~torch.isfinite(x).reshape(len(x), math.prod(x.shape[1:])).all(1)
        bad = rows if bad is None else bad | rows
    samples = [] if bad is None else bad.nonzero().flatten().tolist()
    raise ValueError(f"{name} must be finite; NaN or infinity in {_name_samples(samples)}")


def _is_finite(x: Tensor) -> bool:
    """Passes that allocate nothing: NaN and infinity spread to the sum, and to the extremes where a sum overflows."""
    x = x.detach()
    return x.numel() == 0 or math.isfinite(float(x.sum())) or all(math.isfinite(float(v)) for v in torch.aminmax(x))


def check_images(name: str, x: Any) -> Tensor:
    """The tensor or array [B, ...]. Raises TypeError as `as_tensor`, and ValueError without a first dimension."""
    given = as_tensor(name, x)
    if not given.dim():
        raise ValueError(f"{name} must be a batch of images [B, ...]; got a single number")
    return given


def check_unit_interval(name: str, x: Tensor) -> None:
    """Raise ValueError unless every entry of `x` lies in [0, 1] (pixels before any normalisation)."""
    low, high = (float(v) for v in torch.aminmax(x.detach())) if x.numel() else (0.0, 0.0)
    if low >= 0.0 and high <= 1.0:
        return
    if math.isnan(low):
        samples = x.isnan().reshape(len(x), -1).any(1).nonzero().flatten().tolist()
        raise ValueError(f"{name} must be pixels in [0, 1]; got NaN in {_name_samples(samples)} of the batch")
    raise ValueError(_out_of_range(name, low, high))


class UnitIntervalCheck:
    """`check_unit_interval` for batch after batch, without making the host wait for a CUDA device at each.

    The first batch of a device is checked at once, and so is every batch on a CPU. The extremes of later batches travel
    to the host in the background: a bad one raises as soon as they are there, at one of the next calls.
    """

    LATE = 8  # batches that may be under way at most

    def __init__(self) -> None:
        self._under_way: dict[torch.device, deque[tuple[torch.cuda.Event, Tensor]]] = {}

    def __call__(self, name: str, x: Tensor) -> None:
        """Raises ValueError unless x, and what has become known of earlier batches, lies in [0, 1]."""
        if not self._is_asynchronous(x) or not x.numel():
            check_unit_interval(name, x)
            return
        if x.device not in self._under_way:
            check_unit_interval(name, x)
            self._under_way[x.device] = deque()
            return
        waiting = self._under_way[x.device]
        waiting.append(self._sent(x))
        while waiting and (len(waiting) > self.LATE or waiting[0][0].query()):
            event, extremes = waiting.popleft()
            event.synchronize()
            low, high = extremes.tolist()
            if not (low >= 0.0 and high <= 1.0):  # NaN is neither
                raise ValueError(f"{_out_of_range(name, low, high)} (in this batch or one of the last {self.LATE})")

    def __reduce__(self) -> tuple[Any, ...]:
        return UnitIntervalCheck, ()  # what is under way stays with the original

    def _is_asynchronous(self, x: Tensor) -> bool:
        return x.is_cuda

    def _sent(self, x: Tensor) -> tuple[torch.cuda.Event, Tensor]:
        extremes = torch.stack(torch.aminmax(x.detach())).float().to("cpu", non_blocking=True)
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(x.device))
        return event, extremes


def _out_of_range(name: str, low: float, high: float) -> str:
    return (
        f"{name} must be pixels in [0, 1]; got values in [{low:.4g}, {high:.4g}]. eps is measured in these units: move "
        "the normalisation into the model (its first layer) and feed raw pixels"
    )


def check_labels(y: Tensor, classes: int, batch: int) -> None:
    check_label_shape(y, batch)
    if y.numel():
        low, high = (int(v) for v in torch.aminmax(y))
        if low < 0 or high >= classes:
            raise ValueError(
                f"y must hold labels in [0, {classes}) for {classes} logits; got labels in [{low}, {high}]"
            )


def check_label_shape(y: Tensor, batch: int) -> Tensor:
    """The labels [B] as int64: `check_labels` without a look at the values, and so without a wait for any device."""
    check_tensor("y", y)
    if y.dim() != 1 or y.shape[0] != batch:
        raise ValueError(f"y must have shape [{batch}] like the batch; got {list(y.shape)}")
    if y.dtype.is_floating_point or y.dtype.is_complex or y.dtype == torch.bool:
        raise TypeError(f"y must hold integer class labels; got {y.dtype}")
    return y.to(torch.int64)


def resolve_budget(budget: Any, n: int) -> int:
    """A budget as a count: an int in [1, n], or a float fraction in (0, 1] of n, rounded down, at least 1."""
    if isinstance(budget, bool) or not isinstance(budget, numbers.Real):
        raise TypeError(f"budget must be an int or a float fraction; got {type(budget).__name__}")
    if isinstance(budget, numbers.Integral):
        if not 1 <= int(budget) <= n:
            raise ValueError(f"budget must be between 1 and the number of elements, {n}; got {budget}")
        return int(budget)
    fraction = float(budget)
    if not 0.0 < fraction <= 1.0:
        raise ValueError(f"budget as a fraction must be in (0, 1]; got {budget!r}")
    return max(1, int(fraction * n))


def _name_samples(samples: list[int]) -> str:
    shown = ", ".join(map(str, samples[:MAX_NAMED]))
    more = f" and {len(samples) - MAX_NAMED} more" if len(samples) > MAX_NAMED else ""
    return f"{'sample' if len(samples) == 1 else 'samples'} {shown}{more}"
