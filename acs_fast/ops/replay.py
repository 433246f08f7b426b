"""Greedy among a few candidates, from the samples with something to save at each; compiled where possible."""

from __future__ import annotations

import numpy as np
import torch

from acs_fast.ops import compiled
from acs_fast.ops.reference.greedy import quantised


def replay(
    numbers: np.ndarray,
    gains: np.ndarray,
    bound: tuple[int, int],
    candidate: np.ndarray,
    sample: np.ndarray,
    price: np.ndarray,
    level: np.ndarray,
    scale: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pick as long as greedy over all candidates is certain to pick the same.

    A candidate's gain is the sum of what its entries save: max(level[sample] - price, 0), in units of 1 / scale.

    Args:
        numbers, gains: [M] int64 the candidates, by number.
        bound: gain and number of the best of all others; gains never grow.
        candidate, sample, price: [E] int64 in [0, M), int64 in [0, S), and what the sample would pay there.
        level: [S] what each sample pays, in the dtype of `price`.

    Returns:
        [P] positions of the picks among the candidates, [P] their gains, [S] what the samples pay after them, and [S]
        which of the picks serves each, 0 where none does.
    """
    if compiled.MODULE is None:
        return reference(numbers, gains, bound, candidate, sample, price, level, scale)
    numbers, candidate, sample, price = (np.ascontiguousarray(x) for x in (numbers, candidate, sample, price))
    gains, level, server = gains.copy(), level.copy(), np.zeros(len(level), dtype=np.int64)
    picks, values = np.empty((2, len(gains)), dtype=np.int64)
    run = compiled.of_dtype("replay", price.dtype)
    count = run(
        numbers.ctypes.data, gains.ctypes.data, len(gains), *bound, candidate.ctypes.data, sample.ctypes.data,
        price.ctypes.data, len(price), level.ctypes.data, server.ctypes.data, len(level), scale, picks.ctypes.data,
        values.ctypes.data,
    )  # fmt: skip
    return picks[:count], values[:count], level, server


def reference(
    numbers: np.ndarray,
    gains: np.ndarray,
    bound: tuple[int, int],
    candidate: np.ndarray,
    sample: np.ndarray,
    price: np.ndarray,
    level: np.ndarray,
    scale: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """As `replay`: the specification."""
    gains, level, server = gains.copy(), level.copy(), np.zeros(len(level), dtype=np.int64)
    cost, paid = (quantised(torch.from_numpy(x), scale).numpy() for x in (price, level))
    picks: list[int] = []
    values: list[int] = []
    while len(picks) < len(gains):
        best = int(gains.argmax())  # of equals the first, whose number is the lowest
        if gains[best] < 0 or (picks and (-gains[best], numbers[best]) > (-bound[0], bound[1])):
            break
        own = np.flatnonzero((candidate == best) & (cost < paid[sample]))
        level[sample[own]], paid[sample[own]], server[sample[own]] = price[own], cost[own], len(picks)
        picks.append(best)
        values.append(int(gains[best]))
        left = np.zeros_like(gains)
        np.add.at(left, candidate, np.maximum(paid[sample] - cost, 0))
        gains = np.where(gains < 0, gains, left)
        gains[best] = -1
    return np.array(picks, dtype=np.int64), np.array(values, dtype=np.int64), level, server
