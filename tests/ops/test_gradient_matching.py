"""acs_fast::gradient_matching against textbook matching pursuit and scipy's non-negative least squares."""

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from acs_fast.ops import backends
from acs_fast.testing import require_backend
from tests.ops import oracles
from tests.ops.cases import CASES, problems, random

COMPILED = ("cpu", "triton")
BACKENDS = ("reference", *COMPILED)


def totals(f, members, offsets):
    r, h = f.residuals.double(), f.features.double()
    parts = []
    for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        group = members[a:b]
        total = torch.einsum("nrc,nrd->cd", r[group], h[group])
        parts.append(torch.cat([total, r[group].sum((0, 1))[:, None]], 1) if f.bias else total)
    return torch.stack(parts)


def run(backend, f, members, offsets, shares, ridge=0.0):
    device = require_backend(backend)
    out, _ = backends.run(
        "gradient_matching", backend, *f.to(device), members.to(device), offsets, shares, int(shares.sum()),
        totals(f, members, offsets).to(device), ridge,
    )  # fmt: skip
    return tuple(x.cpu() for x in out)


def whole(backend, f, budget, ridge=0.0):
    n = len(f.residuals)
    indices, weights, gains, counts = run(
        backend, f, torch.arange(n), torch.tensor([0, n]), torch.tensor([budget]), ridge
    )
    used = int(counts)
    assert bool((indices[used:] == -1).all())
    assert not weights[used:].any()
    return indices[:used], weights[:used], gains[:used]


def error(atoms, target, indices, weights):
    return float(np.linalg.norm(weights @ atoms[indices] - target))


@functools.cache
def textbook_error(case, k):
    atoms = CASES[case]().dense().numpy()
    return error(atoms, atoms.sum(0), *oracles.textbook_matching(atoms, atoms.sum(0), k))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_error_is_never_above_the_textbook_s(backend, case):
    f = CASES[case]()
    require_backend(backend)
    atoms = f.dense().numpy()
    target = atoms.sum(0)
    n = len(atoms)
    for k in sorted({1, min(n, 20), min(n, 45)}):
        indices, weights, gains = whole(backend, f, k)
        assert len(indices) <= k
        assert len(set(indices.tolist())) == len(indices)
        assert bool((weights > 0).all())
        assert bool((gains >= -1e-9 * float((target**2).sum())).all())
        got = error(atoms, target, indices.numpy(), weights.numpy())
        assert got <= textbook_error(case, k) * (1 + 1e-9) + 1e-8 * np.linalg.norm(
            target
        )  # what "dependent" leaves out


@pytest.mark.parametrize("ridge", [0.0, 0.5])
@pytest.mark.parametrize("case", ["ragged", "two-passes", "vectors", "double"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_are_the_least_squares_ones(backend, case, ridge):
    f = CASES[case]()
    atoms = f.dense().numpy()
    target = atoms.sum(0)
    indices, weights, _ = whole(backend, f, 40, ridge)
    chosen = atoms[indices.numpy()]
    system = np.concatenate([chosen.T, np.sqrt(ridge) * np.eye(len(chosen))])
    expected = nnls(system, np.concatenate([target, np.zeros(len(chosen))]))[0]
    assert np.allclose(weights.numpy(), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("case", [name for name in CASES if name != "duplicates"])  # equal atoms: any will do
@pytest.mark.parametrize("backend", COMPILED)
def test_as_the_reference(backend, case):
    f = CASES[case]()
    k = min(len(f.residuals), 40)
    got, expected = whole(backend, f, k), whole("reference", f, k)
    assert torch.equal(got[0], expected[0])
    assert torch.allclose(got[1], expected[1], rtol=1e-6, atol=1e-9)
    assert torch.allclose(
        got[2], expected[2], rtol=1e-6, atol=1e-9 * float(expected[2].sum()) if len(expected[2]) else 0
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_stops_at_the_rank(backend):
    basis = random(6, 1, 40, bias=False)
    mixed = torch.rand(80, 6, generator=torch.Generator().manual_seed(0)) @ basis.features[:, 0]
    f = type(basis)(torch.ones(80, 1, 1), mixed[:, None], False)
    indices, weights, _ = whole(backend, f, 30)
    assert len(indices) <= 6
    target = f.dense().numpy().sum(0)
    assert error(f.dense().numpy(), target, indices.numpy(), weights.numpy()) <= 1e-4 * np.linalg.norm(target)


@pytest.mark.parametrize("sizes", [[40], [1, 1, 1], [63, 1, 5, 2], [30] * 12])
@pytest.mark.parametrize("backend", BACKENDS)
def test_groups_are_independent(backend, sizes):
    f = random(sum(sizes), 5, 19)
    members, offsets = problems(sizes)
    shares = torch.tensor([(s + 1) // 2 for s in sizes])
    indices, weights, _, counts = run(backend, f, members, offsets, shares)
    start = 0
    for i, k in enumerate(shares.tolist()):
        group = members[offsets[i] : offsets[i + 1]]
        alone = whole(backend, type(f)(f.residuals[group], f.features[group], f.bias), k)
        used = int(counts[i])
        assert torch.equal(group[alone[0]], indices[start : start + used])
        assert torch.allclose(alone[1], weights[start : start + used], rtol=1e-9)
        start += k


@pytest.mark.parametrize("budgets", [[0, 4, 0, 2], [0, 0, 0, 0]])
@pytest.mark.parametrize("backend", BACKENDS)
def test_groups_that_pick_nothing(backend, budgets):
    sizes = [7, 20, 0, 9]
    f = random(sum(sizes), 5, 19)
    members, offsets = problems(sizes)
    indices, _, _, counts = run(backend, f, members, offsets, torch.tensor(budgets))
    assert counts.tolist() == budgets
    owners = [group for group, k in zip(members.split(sizes), budgets, strict=True) for _ in range(k)]
    assert all(int(i) in group.tolist() for i, group in zip(indices, owners, strict=True))


@pytest.mark.parametrize("sizes", [[600], [300, 250, 100], [40] * 15])
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_same_bits_for_every_number_of_threads(threads, sizes, restore_threads):
    f = random(sum(sizes), 5, 40)
    members, offsets = problems(sizes)
    shares = torch.tensor([s // 3 for s in sizes])
    torch.set_num_threads(2)
    expected = run("cpu", f, members, offsets, shares)
    torch.set_num_threads(threads)
    for _ in range(2):
        assert all(torch.equal(a, b) for a, b in zip(run("cpu", f, members, offsets, shares), expected, strict=True))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 6), st.integers(0, 10**6))
@pytest.mark.parametrize("backend", BACKENDS)
def test_properties(backend, n, c, d, seed):
    """Few dimensions, so that atoms leave and come back and the rank is reached."""
    f = random(n, c, d, seed=seed, dtype=torch.float64)
    atoms = f.dense().numpy()
    k = n // 2 + 1
    indices, weights, gains = whole(backend, f, k)
    target = atoms.sum(0)
    got = error(atoms, target, indices.numpy(), weights.numpy())
    assert got <= np.linalg.norm(target) * (1 + 1e-12)
    assert float(gains.sum()) <= (target @ target - got**2) * (1 + 1e-6) + 1e-9  # some of it is of atoms that left
    best = nnls(atoms[indices.numpy()].T, target, maxiter=1000)[1] if len(indices) else np.linalg.norm(target)
    assert got <= best * (1 + 1e-7) + 1e-7


@pytest.mark.parametrize("seed", [0, 1, 2, 37])
@pytest.mark.parametrize("hard", ["scales of three decades", "nearly parallel"])
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_hard_problems_are_matched_to_rounding(backend, hard, seed):
    """More is asked for than the rank: whole sets of atoms come and go, and the last steps are one at a time."""
    f = random(500, 4, 20, seed=seed, dtype=torch.float64)
    r, h = f.residuals, f.features
    if hard == "nearly parallel":
        h = h + 20.0
    else:
        order = torch.randperm(500, generator=torch.Generator().manual_seed(seed))
        r, h = r.abs(), h.abs() * torch.logspace(0, 3, 500, dtype=torch.float64)[order, None, None]
    f = f._replace(residuals=r, features=h)
    indices, weights, _ = whole(backend, f, 300)
    atoms = f.dense().numpy()
    target = atoms.sum(0)
    assert len(indices) <= 4 * 21
    assert error(atoms, target, indices.numpy(), weights.numpy()) <= 1e-6 * np.linalg.norm(target)


def matched(backend, f, k):
    n = len(f.residuals)
    group = torch.arange(n), torch.tensor([0, n])
    device = require_backend(backend)
    arguments = (*f.to(device), group[0].to(device), group[1], torch.tensor([k]), k, totals(f, *group).to(device), 0.0)
    (indices, weights, _, _), report = backends.run("gradient_matching", backend, *arguments)
    return indices.cpu(), weights.cpu(), report


@pytest.mark.parametrize(
    ("c", "d", "passes", "dtype"),
    [(3, 40, 1, torch.float32), (17, 33, 1, torch.float32), (6, 20, 2, torch.float32), (10, 40, 1, torch.float64)],
)
def test_screening_on_the_cpu_finds_the_picks_of_the_reference(c, d, passes, dtype):
    f = random(700, c, d, passes, dtype=dtype)
    indices, weights, report = matched("cpu", f, 140)
    expected, right, _ = matched("reference", f, 140)
    assert "screening" in report.path
    assert torch.equal(indices, expected)
    torch.testing.assert_close(weights, right)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("passes", [1, 2])
def test_columns_on_the_cpu_find_the_picks_of_the_reference(passes, dtype):
    f = random(700, 10, 130, passes, dtype=dtype)
    indices, weights, report = matched("cpu", f, 60)
    expected, right, _ = matched("reference", f, 60)
    assert report.path == "columns"
    assert torch.equal(indices, expected)
    torch.testing.assert_close(weights, right)


def test_columns_are_as_sure_for_samples_of_very_different_sizes():
    f = random(500, 30, 60, bias=False)
    sizes = torch.logspace(-12, 6, 500)[torch.randperm(500, generator=torch.Generator().manual_seed(0))]
    root = sizes.sqrt()[:, None, None]
    f = f._replace(residuals=f.residuals * root, features=f.features * root)
    indices, _, report = matched("cpu", f, 40)
    assert report.path == "columns"
    assert torch.equal(indices, matched("reference", f, 40)[0])


def test_columns_keep_every_one_of_equal_samples_in_the_race():
    f = random(60, 30, 60)
    index = torch.arange(600) % 60
    twins = f._replace(residuals=f.residuals[index], features=f.features[index])
    indices, _, report = matched("cpu", twins, 30)
    assert report.path == "columns"
    assert bool((indices < 60).all())  # the lowest index among equals


def test_columns_make_way_for_screening_where_their_bounds_blur():
    """A few directions and faint noise: what is left soon is of the size of the bounds of float32 columns."""
    f, faint = random(400, 10, 256), random(400, 10, 256)
    few = torch.randn(4, 256, generator=torch.Generator().manual_seed(0))
    f = f._replace(features=f.features[..., :4] @ few + 1e-3 * faint.features)
    indices, weights, report = matched("cpu", f, 150)
    expected, right, _ = matched("reference", f, 150)
    assert report.path == "columns and screening"
    assert torch.equal(indices, expected)
    torch.testing.assert_close(weights, right, rtol=1e-4, atol=1e-5)


def test_screening_is_as_sure_for_samples_of_very_different_sizes():
    f = random(500, 4, 24, bias=False)
    sizes = torch.logspace(-12, 6, 500)[torch.randperm(500, generator=torch.Generator().manual_seed(0))]
    root = sizes.sqrt()[:, None, None]
    f = f._replace(residuals=f.residuals * root, features=f.features * root)
    indices, _, report = matched("cpu", f, 40)
    assert "screening" in report.path
    assert torch.equal(indices, matched("reference", f, 40)[0])


def test_screening_keeps_every_one_of_equal_samples_in_the_race():
    f = random(60, 4, 24)
    index = torch.arange(600) % 60
    twins = f._replace(residuals=f.residuals[index], features=f.features[index])
    indices, _, report = matched("cpu", twins, 30)
    assert "screening" in report.path
    assert bool((indices < 60).all())  # the lowest index among equals
