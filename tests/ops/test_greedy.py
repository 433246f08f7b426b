"""acs_fast::greedy: the picks, gains and assignment of greedy by definition, to the last bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from acs_fast.ops import backends
from acs_fast.testing import COMPILED, require_backend
from tests.ops import oracles
from tests.ops.cases import CASES, budgets

BACKENDS = ("reference", *COMPILED)


def run(backend, d, budget):
    device = require_backend(backend)
    return tuple(x.cpu() for x in backends.run("greedy", backend, d.to(device), budget)[0])


def check(backend, d, budget):
    picks, gains, assignment = run(backend, d, budget)
    expected = oracles.greedy(d.numpy(), budget)
    assert picks.tolist() == expected[0]
    assert gains.tolist() == expected[1]
    assert assignment.tolist() == expected[2]


def matrix(n, seed=0, symmetric=True, dtype=torch.float32):
    points = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    d = torch.cdist(points, points).to(dtype)
    d = torch.minimum(d, d.T)
    return d if symmetric else d * (1 + 1e-3 * torch.rand(n, n, generator=torch.Generator().manual_seed(1)).to(dtype))


@pytest.mark.parametrize("case", [name for name in CASES if name != "large"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_cases(backend, case):
    d = backends.run("pairwise_distances", "reference", *CASES[case](), False)[0]
    for k in budgets(len(d)) if len(d) < 200 else [50]:
        check(backend, d, k)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 2), (63, 63), (257, 80), (1000, 30)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_sizes(backend, n, k, symmetric, dtype):
    check(backend, matrix(n, symmetric=symmetric, dtype=dtype), k)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_any_scale(backend, scale):
    check(backend, matrix(63) * scale, 63)


@pytest.mark.parametrize("backend", BACKENDS)
def test_strided_and_minus_zero(backend):
    d = matrix(130)[::2, ::2].clone().T
    d.fill_diagonal_(-0.0)
    check(backend, d, 20)
    check(backend, torch.full((4, 4), -0.0), 4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(0, 3), st.integers(0, 10**6), st.booleans())
@pytest.mark.parametrize("backend", BACKENDS)
def test_ties_everywhere(backend, n, levels, seed, symmetric):
    rng = np.random.default_rng(seed)
    d = rng.integers(0, levels + 1, (n, n)).astype(np.float32)
    d = np.minimum(d, d.T) if symmetric else d
    check(backend, torch.from_numpy(d), int(rng.integers(1, n + 1)))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 60), st.integers(0, 10**6))
@pytest.mark.parametrize("backend", BACKENDS)
def test_properties(backend, n, seed):
    d = matrix(n, seed, symmetric=False)  # symmetric ones tie wherever two samples are left alone together
    k = n // 2 + 1
    picks, gains, assignment = run(backend, d, k)
    assert len(set(picks.tolist())) == k
    assert bool((gains.diff() <= 0).all())
    assert torch.equal(d.gather(1, picks[assignment][:, None])[:, 0], d[:, picks].min(1).values)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    assert run(backend, d[order][:, order], k)[1][0] == gains[0]  # whichever of equally good ones comes first


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_same_bits_for_every_number_of_threads(threads, symmetric, restore_threads):
    d = matrix(700, symmetric=symmetric)
    expected = run("cpu", d, 300)
    torch.set_num_threads(threads)
    for _ in range(2):
        assert all(torch.equal(a, b) for a, b in zip(run("cpu", d, 300), expected, strict=True))
