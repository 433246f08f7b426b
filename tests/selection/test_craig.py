"""Facility location: golden values by brute force, properties, memory."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import acs_fast as acs
from tests.helpers import brute_force_greedy, make_gradients

CLASSES = 4


def integer_distances(n: int, seed: int, high: int = 6) -> torch.Tensor:
    """Symmetric distances with many exact ties, whose sums are exact in every arithmetic."""
    d = torch.randint(1, high, (n, n), generator=torch.Generator().manual_seed(seed)).float()
    d = torch.triu(d, 1)
    return d + d.T


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [1, 2, 30])
def test_greedy_is_brute_force_with_ties(n, seed):
    d = integer_distances(n, seed)
    k = max(1, n // 2)
    coreset = acs.facility_location(d, k, metric="precomputed")
    picks, gains = brute_force_greedy(d.numpy(), k)
    assert coreset.indices.tolist() == picks
    assert coreset.gains.tolist() == gains


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean"])
@pytest.mark.parametrize("passes", [1, 2])
def test_gradients_give_the_picks_of_their_dense_distances(metric, passes):
    g = make_gradients(120, CLASSES, 6, passes, torch.float64)
    dense = g.dense()
    d = (dense[:, None] - dense[None]).norm(dim=2)
    d = d if metric == "euclidean" else d.square()
    coreset = acs.facility_location(g, 0.25, metric=metric)
    assert coreset.indices.tolist() == brute_force_greedy(d.numpy(), 30)[0]
    assert coreset.stats["objective"] == pytest.approx(float(d[:, coreset.indices].min(1).values.sum()), rel=1e-9)
    counts = torch.bincount(d[:, coreset.indices].argmin(1), minlength=30)
    assert torch.equal(coreset.weights, counts.float())


def test_duplicates_and_zero_gradients():
    x = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [5.0, 5.0]])
    coreset = acs.facility_location(x, 5)
    assert sorted(coreset.indices.tolist()) == [0, 1, 2, 3, 4]
    assert coreset.gains.tolist()[3:] == [0.0, 0.0]  # a second copy gains nothing
    assert float(coreset.weights.sum()) == 5.0
    assert bool((acs.pairwise_distances(x)[[0, 1], [2, 3]] == 0).all())


def test_groups_are_independent_problems():
    g = make_gradients(90, CLASSES, 5)
    groups = torch.arange(90) % 3
    coreset = acs.facility_location(g, 31, groups=groups)
    start = 0
    for i, k in enumerate([11, 10, 10]):
        members = (groups == i).nonzero().flatten()
        alone = acs.facility_location(g[members], k)
        assert torch.equal(coreset.indices[start : start + k], members[alone.indices])
        assert torch.equal(coreset.weights[start : start + k], alone.weights)
        start += k


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 10**6), st.floats(0.05, 1.0), st.booleans())
def test_facility_location_properties(n, seed, fraction, with_duplicates):
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    if with_duplicates:
        x = x[torch.randint(n, (n,), generator=torch.Generator().manual_seed(seed))]
    coreset = acs.facility_location(x, fraction)
    assert len(coreset) == max(1, int(fraction * n)) == len(coreset.indices.unique())
    assert float(coreset.weights.sum()) == n
    assert bool((coreset.gains.diff() <= 1e-6 * coreset.gains[0].abs()).all())
    again = acs.facility_location(x, fraction)
    assert torch.equal(again.indices, coreset.indices)
    assert torch.equal(again.gains, coreset.gains)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30), st.integers(0, 10**6))
def test_permuted_samples_give_permuted_picks(n, seed):
    generator = torch.Generator().manual_seed(seed)
    d = torch.rand(n, n, generator=generator, dtype=torch.float64)  # not symmetric: no ties
    order = torch.randperm(n, generator=generator)
    one = acs.facility_location(d, (n + 1) // 2, metric="precomputed")
    other = acs.facility_location(d[order][:, order], (n + 1) // 2, metric="precomputed")
    useful = int((one.gains > 0).sum())  # after that all are equal, and the lowest index is another one
    assert order[other.indices][:useful].tolist() == one.indices[:useful].tolist()
    assert torch.equal(one.gains, other.gains)


def test_little_memory_takes_the_matrix_free_path():
    g = make_gradients(150, dtype=torch.float64)
    dense = acs.facility_location(g, 40)
    free = acs.facility_location(g, 40, memory=1000)
    selected = acs.Craig(per_class=False, memory=1000).select(150, 40, g, None, 0)
    assert selected.stats["path"] == "matrix-free"
    assert torch.equal(selected.indices, free.indices)
    assert (dense.stats["path"], free.stats["path"]) == ("dense", "matrix-free")
    assert torch.equal(dense.indices, free.indices)
    assert torch.equal(dense.weights, free.weights)


def test_memory_is_a_count_of_bytes():
    with pytest.raises(ValueError, match="memory"):
        acs.facility_location(X, 2, memory=-1)
    with pytest.raises(TypeError, match="memory"):
        acs.Craig(memory=0.5)


X = torch.rand(6, 3)
