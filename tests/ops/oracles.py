"""Slow answers by definition, in numpy and scipy, sharing no code with the package."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import nnls


def quantised(d: np.ndarray) -> tuple[np.ndarray, float]:
    """Distances as 64-bit integers, and what one unit of them is worth."""
    n, top = len(d), float(d.max())
    bits = min(50, 62 - (n - 1).bit_length())
    exponent = min(bits - (math.frexp(top)[1] if top > 0 else 0), 1000)
    return np.rint(d.astype(np.float64) * 2.0**exponent).astype(np.int64), 2.0**-exponent


def greedy(d: np.ndarray, budget: int) -> tuple[list[int], list[float], list[int]]:
    """Picks, gains and assignment of facility location: every gain from scratch at every pick."""
    q, unit = quantised(d)
    n = len(q)
    current = np.full(n, q.max())
    picks: list[int] = []
    gains: list[float] = []
    assignment = np.zeros(n, dtype=np.int64)
    for step in range(budget):
        gain = np.maximum(current[:, None] - q, 0).sum(0)
        gain[picks] = -1
        pick = int(gain.argmax())
        picks.append(pick)
        gains.append(int(gain[pick]) * unit)
        assignment[q[:, pick] < current] = step
        current = np.minimum(current, q[:, pick])
    return picks, gains, assignment.tolist()


def textbook_matching(atoms: np.ndarray, target: np.ndarray, budget: int) -> tuple[list[int], np.ndarray]:
    """Non-negative OMP with a full NNLS refit after each pick: atoms [N, P], target [P]."""
    picks: list[int] = []
    weights = np.zeros(0)
    residual = target.copy()
    floor = 1e-10 * np.abs(atoms @ target).max()
    for _ in range(budget):
        correlation = atoms @ residual
        correlation[picks] = -np.inf
        pick = int(correlation.argmax())
        if correlation[pick] <= floor:
            break
        picks.append(pick)
        weights = nnls(atoms[picks].T, target, maxiter=100 * len(picks))[0]
        residual = target - weights @ atoms[picks]
    return picks, weights
