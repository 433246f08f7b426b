"""The public selection functions: golden values by brute force, properties, statistics, bad input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

import acs_fast as acs
from tests.helpers import brute_force_greedy, make_gradients, textbook_matching

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


def test_one_member_groups_and_everything():
    g = make_gradients(6)
    for select in (acs.facility_location, acs.gradient_matching):
        coreset = select(g, 6, groups=torch.arange(6))
        assert sorted(coreset.indices.tolist()) == [0, 1, 2, 3, 4, 5]
        assert torch.allclose(coreset.weights, torch.ones(6))
        assert coreset.stats["relative_gradient_error"] < 1e-6


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


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("k", [1, 7, 20])
@pytest.mark.parametrize("seed", range(3))
def test_matching_is_no_worse_than_the_textbook(k, ridge, seed):
    g = make_gradients(60, 3, 6, dtype=torch.float64, seed=seed)
    dense = g.dense().numpy()
    best = textbook_matching(dense, dense.sum(0), k, ridge)
    coreset = acs.gradient_matching(g, k, ridge=ridge)
    scale = float(np.square(dense.sum(0)).sum())
    assert coreset.stats["objective"] <= best * (1 + 1e-6) + 1e-9 * scale
    assert len(coreset) <= k


@pytest.mark.parametrize("seed", range(3))
def test_matching_weights_are_the_nnls_solution_on_the_picks(seed):
    g = make_gradients(50, 3, 6, dtype=torch.float64, seed=seed)
    coreset = acs.gradient_matching(g, 12)
    chosen = g[coreset.indices].dense().numpy()
    expected, _ = nnls(chosen.T, g.dense().sum(0).numpy())
    np.testing.assert_allclose(coreset.weights.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_matching_stops_at_the_rank_and_fills_as_told():
    g = make_gradients(80, 3, 4, dtype=torch.float64)  # rank at most 2 * 5
    none = acs.gradient_matching(g, 40)
    assert len(none) <= 10
    assert none.stats["stopped"] == 1
    assert none.stats["filled"] == 0
    assert none.stats["relative_gradient_error"] < 1e-6
    for fill in ("random", "next_best"):
        filled = acs.gradient_matching(g, 40, fill=fill)
        assert len(filled) == 40 == len(filled.indices.unique())
        assert filled.stats["filled"] == 40 - len(none)
        assert filled.weights[len(none) :].tolist() == [1.0] * filled.stats["filled"]
    by_correlation = (g.dense() @ g.dense().sum(0)).argsort(descending=True).tolist()
    expected = [i for i in by_correlation if i not in set(none.indices.tolist())][: 40 - len(none)]
    assert acs.gradient_matching(g, 40, fill="next_best").indices[len(none) :].tolist() == expected
    one, other = (acs.gradient_matching(g, 40, fill="random", seed=s).indices for s in (0, 1))
    assert not torch.equal(one, other)


@pytest.mark.parametrize("form", ["matrix", "flat"])
def test_matching_another_target(form):
    g = make_gradients(40, 3, 4, dtype=torch.float64)
    target = g[:5].total()
    flat = g[:5].dense().sum(0)
    coreset = acs.gradient_matching(g, 20, target=target if form == "matrix" else flat)
    error = g[coreset.indices].total(coreset.weights.double()) - target
    assert coreset.stats["relative_gradient_error"] == pytest.approx(float(error.norm() / target.norm()), abs=1e-6)
    assert coreset.stats["relative_gradient_error"] < 1e-5


def test_one_group_takes_its_target_with_or_without_the_first_dimension():
    g, groups = make_gradients(12, 1, 2), torch.zeros(12, dtype=torch.int64)
    for target in (g[:5].total(), g[:5].dense().sum(0)):
        one, two = (acs.gradient_matching(g, 4, target=t, groups=groups) for t in (target, target[None]))
        assert torch.equal(one.indices, two.indices)
        assert torch.equal(one.weights, two.weights)


def test_matching_of_nothing():
    coreset = acs.gradient_matching(torch.zeros(5, 3), 2)
    assert len(coreset) == 0
    assert coreset.stats["relative_gradient_error"] == 0.0
    assert len(acs.gradient_matching(torch.zeros(5, 3), 2, fill="random")) == 2


@pytest.mark.parametrize("select", [acs.facility_location, acs.gradient_matching])
def test_statistics(select):
    g = make_gradients(60)
    coreset = select(g, 0.2, groups=torch.arange(60) % 2)
    stats = coreset.stats
    dense = g.dense().double()
    error = coreset.weights.double() @ dense[coreset.indices] - dense.sum(0)
    assert stats["relative_gradient_error"] == pytest.approx(float(error.norm() / dense.sum(0).norm()), rel=1e-4)
    assert {"objective", "seconds", "backend", "path", "peak_bytes", "filled"} <= stats.keys()
    assert sum(stats["seconds"].values()) > 0
    assert coreset.weights.dtype == coreset.gains.dtype == torch.float32
    assert coreset.indices.dtype == torch.int64


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
E = torch.ones(2, 2)
NAN = X.clone().index_fill_(0, torch.tensor([1, 4]), float("nan"))


@pytest.mark.parametrize("select", [acs.facility_location, acs.gradient_matching])
@pytest.mark.parametrize(
    ("x", "budget", "options", "error", "message"),
    [
        (X, 0, {}, ValueError, "budget must be between 1 and the number of elements, 6; got 0"),
        (X, -1, {}, ValueError, "budget must be between 1"),
        (X, 7, {}, ValueError, "got 7"),
        (X, 0.0, {}, ValueError, r"budget as a fraction must be in \(0, 1\]; got 0.0"),
        (X, 1.5, {}, ValueError, "got 1.5"),
        (X, float("nan"), {}, ValueError, "got nan"),
        (X, "3", {}, TypeError, "budget must be an int or a float fraction; got str"),
        (X, True, {}, TypeError, "got bool"),
        (NAN, 2, {}, ValueError, "gradients must be finite; NaN or infinity in samples 1, 4"),
        (X * 1e30, 2, {}, ValueError, "gradients are too large"),
        (X * 3e18, 2, {}, ValueError, "gradients are too large: with residuals up to 1 and features up to"),
        (X[:0], 1, {}, ValueError, "x must hold at least one sample"),
        (X[0], 1, {}, ValueError, r"x must be LastLayerGradients or a tensor \[N, P\]; got shape \[3\]"),
        (X.long(), 1, {}, TypeError, "x must have a floating dtype"),
        ([[1.0]], 1, {}, TypeError, "x must be a torch.Tensor or a NumPy array; got list"),
        (X, 2, {"groups": torch.zeros(5, dtype=torch.int64)}, ValueError, r"groups must have shape \[6\]"),
        (X, 2, {"groups": torch.zeros(6)}, TypeError, "groups must hold integers"),
        (X, 2, {"groups": torch.arange(6)}, ValueError, "budget must be at least the number of groups, 6"),
        (X, 2, {"backend": "gpu"}, ValueError, "backend must be one of 'auto', 'cpu', 'cuda', 'reference', 'triton'"),
    ],
)
def test_bad_input_is_named(select, x, budget, options, error, message):
    with pytest.raises(error, match=message):
        select(x, budget, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: acs.facility_location(X, 2, metric="cosine"), "metric must be one of .*; got 'cosine'"),
        (lambda: acs.facility_location(X, 2, metric="precomputed"), r"square matrix \[N, N\].* got \[6, 3\]"),
        (lambda: acs.facility_location(-E, 1, metric="precomputed"), r"distances >= 0; got -1 at \[0, 0\]"),
        (lambda: acs.facility_location(E / 0, 1, metric="precomputed"), "distances must be finite"),
        (lambda: acs.pairwise_distances(X, "cosine"), "metric must be one of"),
        (lambda: acs.pairwise_distances(NAN), "NaN or infinity in samples 1, 4"),
        (lambda: acs.gradient_matching(X, 2, ridge=-1.0), "ridge must be finite and in"),
        (lambda: acs.gradient_matching(X, 2, fill="zeros"), "fill must be one of 'next_best', 'none', 'random'"),
        (lambda: acs.gradient_matching(X, 2, target=E), r"target must have shape \[1, 3\] or \[3\]; got \[2, 2\]"),
    ],
)  # fmt: skip
def test_other_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_dtype_and_layout(dtype):
    x = torch.randn(9, 40).to(dtype)[:, ::2].requires_grad_()
    for select in (acs.facility_location, acs.gradient_matching):
        coreset = select(x, 4)
        assert torch.equal(coreset.indices, select(x.detach().contiguous(), 4).indices)


def test_arrays_give_what_tensors_give():
    x, groups = torch.randn(30, 4), torch.arange(30) % 3
    for select in (acs.facility_location, acs.gradient_matching):
        one, two = select(x, 9, groups=groups), select(x.numpy(), 9, groups=groups.numpy())
        assert torch.equal(one.indices, two.indices)
        assert torch.equal(one.weights, two.weights)
    d = acs.pairwise_distances(x.numpy())
    assert torch.equal(d, acs.pairwise_distances(x))
    assert torch.equal(
        acs.facility_location(d.numpy(), 5, metric="precomputed").indices, acs.facility_location(x, 5).indices
    )
    with pytest.raises(TypeError, match="x must have a floating dtype"):
        acs.facility_location(np.arange(6).reshape(3, 2), 1)
