"""Greedy among a few candidates: compiled against its specification."""

from __future__ import annotations

import numpy as np
import pytest

from acs_fast.ops import compiled
from acs_fast.ops.replay import reference, replay

SCALE = 2.0**20


def quantised(x: np.ndarray) -> np.ndarray:
    return np.rint(x.astype(np.float64) * SCALE).astype(np.int64)


def problem(seed: int, dtype: type, whole: bool) -> tuple[np.ndarray, ...]:
    """Candidates with exact gains, ties among them where prices are whole numbers."""
    draw = np.random.default_rng(seed)
    samples, candidates = 40, 25
    level = draw.random(samples).astype(dtype) * 8
    prices = draw.random((candidates, samples)).astype(dtype) * 8
    if whole:
        level, prices = np.ceil(level), np.floor(prices)
    candidate, sample = np.nonzero(quantised(prices) < quantised(level))
    price = prices[candidate, sample]
    gains = np.zeros(candidates, dtype=np.int64)
    np.add.at(gains, candidate, quantised(level[sample]) - quantised(price))
    shuffled = draw.permutation(len(price))  # ranks send their entries one after the other
    numbers = np.sort(draw.choice(1000, candidates, replace=False))
    return numbers, gains, candidate[shuffled], sample[shuffled], price[shuffled], level


@pytest.mark.skipif(compiled.MODULE is None, reason="acs_fast was installed without CPU kernels")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_compiled_picks_what_the_specification_picks(seed: int, whole: bool, dtype: type) -> None:
    numbers, gains, *entries, level = problem(seed, dtype, whole)
    for bound in ((-2, 1000), (int(np.median(gains)), 500), (int(gains.max()), 0)):
        arguments = (numbers, gains, bound, *entries, level, SCALE)
        for found, wanted in zip(replay(*arguments), reference(*arguments), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_it_stops_where_another_candidate_may_be_better() -> None:
    numbers, gains = np.array([3, 7]), np.array([8, 6]) << 20
    candidate, sample, price = np.array([0, 1]), np.array([0, 0]), np.array([0.0, 2.0])
    picks, values, level, server = replay(
        numbers, gains, (1 << 20, 5), candidate, sample, price, np.array([8.0]), SCALE
    )
    assert picks.tolist() == [0]
    assert values.tolist() == [8 << 20]
    assert (level.tolist(), server.tolist()) == ([0.0], [0])
