"""Random subsets: uniform, or the same fraction of every class; drawn by the seed alone."""

from __future__ import annotations

import pytest
import torch

import acs_fast as acs

N, BUDGET = 60, 20
LABELS = torch.arange(N) % 10 // 6  # 36 of one class, 24 of the other


def draw(seed: int, stratified: bool = False) -> acs.Coreset:
    return acs.Random(stratified=stratified).select(N, BUDGET, None, LABELS, seed).check(N, BUDGET, N)


@pytest.mark.parametrize("stratified", [False, True])
def test_the_seed_alone_decides(stratified):
    torch.manual_seed(0)
    first = draw(3, stratified).indices
    torch.manual_seed(1)
    assert torch.equal(first, draw(3, stratified).indices)
    assert not torch.equal(first, draw(4, stratified).indices)


def test_every_sample_is_as_likely():
    times = torch.zeros(N)
    for seed in range(600):
        times[draw(seed).indices] += 1
    expected = 600 * BUDGET / N
    assert float((times - expected).abs().max()) < 5 * (expected * (1 - BUDGET / N)) ** 0.5


def test_weights_are_equal():
    assert draw(0).weights.unique().tolist() == [N / BUDGET]


def test_stratified_shares_and_weights_follow_the_classes():
    found = draw(0, stratified=True)
    counts = torch.bincount(LABELS[found.indices])
    assert counts.tolist() == [12, 8]
    of_class = torch.zeros(2).index_add_(0, LABELS[found.indices], found.weights)
    torch.testing.assert_close(of_class, torch.bincount(LABELS).float())


def test_how_long_it_lasts():
    assert acs.Random("run").lasts == "run"
    with pytest.raises(ValueError, match="lasts"):
        acs.Random("week")
