"""Means with 95 % confidence intervals over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its confidence interval (None: a single value has none)."""

    mean: float
    half: float | None
    count: int

    @property
    def bar(self) -> float:
        """Length of the error bar."""
        return self.half or 0.0

    def __format__(self, spec: str) -> str:
        """`f"{interval:.1f}"`: the mean, and the half width where there is one."""
        half = "" if self.half is None else f" ± {self.half:{spec.removeprefix('+')}}"
        return f"{self.mean:{spec}}{half}"


def interval(values: Sequence[float]) -> Interval:
    """Student's interval for the mean of a few independent values.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("values must hold at least one number; got none")
    n = len(values)
    if n == 1:
        return Interval(float(values[0]), None, 1)
    from scipy.stats import t

    half = float(t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    return Interval(statistics.mean(values), half, n)
