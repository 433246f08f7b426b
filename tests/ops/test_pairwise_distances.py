"""acs_fast::pairwise_distances against float64 differences of dense gradients."""

import functools

import pytest
import torch

from acs_fast.ops import backends
from acs_fast.ops.reference import pairwise_distances as distances
from acs_fast.testing import COMPILED, require_backend
from tests.ops.cases import CASES, random

BACKENDS = ("reference", *COMPILED)


def truth(f, squared):
    g = f.dense()
    d = torch.cdist(g, g, compute_mode="donot_use_mm_for_euclid_dist")
    return d.square() if squared else d


@functools.cache
def truth_of_case(case, squared):
    return truth(CASES[case](), squared)


def run(backend, f, squared=False):
    device = require_backend(backend)
    return backends.run("pairwise_distances", backend, *f.to(device), squared)[0].cpu()


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_error_is_no_larger_than_the_reference_s(backend, case, squared):
    f = CASES[case]()
    got, reference = run(backend, f, squared), distances.pairwise_distances(*f, squared)
    expected = truth_of_case(case, squared)
    assert got.dtype == reference.dtype
    tolerance = 8 * torch.finfo(got.dtype).eps * expected.max()
    assert (got - expected).abs().max() <= (reference - expected).abs().max() + tolerance


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", COMPILED)
def test_symmetric_bit_for_bit_with_zeros_for_identical_samples(backend, case):
    f = CASES[case]()
    got = run(backend, f)
    assert torch.equal(got, got.T)
    assert not got.diagonal().any()
    keys = torch.cat([f.residuals.flatten(1), f.features.flatten(1)], 1)
    same = (keys[:, None] == keys[None]).all(-1) if len(keys) < 300 else torch.eye(len(keys), dtype=torch.bool)
    assert not got[same].any()


@pytest.mark.parametrize(("times", "relative"), [(1e3, 1e-3), (3e4, 1e-1), (1e6, 1e-5)])
@pytest.mark.parametrize("scaled", ["residuals", "features"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_small_gradients_beside_large_ones(backend, scaled, times, relative):
    f = random(200, 10, 64)
    getattr(f, scaled)[:5] *= times
    got, expected = run(backend, f), truth(f, False)
    assert ((got - expected).abs() <= 4e-6 * expected.max()).all()
    assert ((got - expected).abs() <= relative * expected)[5:, 5:].all()


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_large_residuals_with_small_features(backend, passes):
    """Their products cancel: what is left of them, and of a sample's distance to itself, is not rounding."""
    f = random(60, 4, 8, passes)
    powers = torch.logspace(-3, 3, 60)[torch.randperm(60, generator=torch.Generator().manual_seed(0))][:, None, None]
    f = f._replace(residuals=f.residuals * powers, features=f.features / powers)
    got, expected = run(backend, f), truth(f, False)
    assert not got.diagonal().any()
    assert ((got - expected).abs() <= 2e-6 * expected.max() + 2e-3 * expected).all()


@pytest.mark.parametrize("n", [1, 223, 224, 225, 449])
def test_tiles_end_where_the_samples_do(n):
    f = random(n, 3, 129)
    assert torch.allclose(run("cpu", f), truth(f, False).float(), atol=1e-4)


@pytest.mark.parametrize("shape", [(0, 1, 3, 4), (5, 1, 0, 4), (5, 1, 3, 0), (5, 0, 3, 4)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_zero_sized(backend, shape):
    n, passes, c, d = shape
    device = require_backend(backend)
    got, _ = backends.run(
        "pairwise_distances", backend, torch.ones(n, passes, c, device=device), torch.ones(n, passes, d, device=device),
        True, False,
    )  # fmt: skip
    assert got.shape == (n, n)
    assert not got.any()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_bits_for_every_number_of_threads(threads, restore_threads):
    f = CASES["large"]()
    expected = run("cpu", f)
    torch.set_num_threads(threads)
    assert torch.equal(run("cpu", f), expected)
