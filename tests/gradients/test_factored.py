"""Factored gradients against their dense counterparts in float64."""

import numpy as np
import pytest
import torch

from acs_fast import LastLayerGradients, facility_location, pairwise_distances
from tests.helpers import make_gradients

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 1e-5, torch.bfloat16: 1e-5}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("passes", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_products_match_dense(dtype, passes, bias):
    g = make_gradients(17, 3, 6, passes, dtype)
    g = LastLayerGradients(g.residuals, g.features, bias)
    dense = g.to(torch.float64).dense()  # from the rounded factors: the products themselves add no error of that size
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    assert dense.shape == (17, 3 * 6 + 3 * bias)
    torch.testing.assert_close(g.gram().double(), dense @ dense.T, **tolerance)
    torch.testing.assert_close(g.gram(g[3:8]).double(), dense @ dense[3:8].T, **tolerance)
    torch.testing.assert_close(g.squared_norms().double(), dense.square().sum(1), **tolerance)
    w = torch.rand(17, dtype=torch.float64)
    total = g.total(w).double()
    flat = torch.cat([total[:, :6].flatten(), total[:, 6:].flatten()])
    torch.testing.assert_close(flat, w @ dense, **tolerance)


def test_dense_layout_is_weight_row_major_then_bias():
    g = LastLayerGradients(torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0, 7.0, 11.0]]))
    assert g.dense().tolist() == [[10.0, 14.0, 22.0, 15.0, 21.0, 33.0, 2.0, 3.0]]
    assert g.total().tolist() == [[10.0, 14.0, 22.0, 2.0], [15.0, 21.0, 33.0, 3.0]]


INDICES = [slice(2, 5), [4, 0], torch.tensor([1, 1, 3]), torch.arange(6) > 2, -1, 5, torch.tensor(3), np.int64(2)]


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("index", INDICES)
def test_indexing_keeps_samples(index, passes):
    g = make_gradients(6, passes=passes)
    expected = g.dense()[index].reshape(-1, g.dense().shape[1])
    assert torch.equal(g[index].dense(), expected)
    assert len(g[index]) == len(expected)


@pytest.mark.parametrize("index", [slice(4, 1, -1), slice(None, None, -2), slice(1, 4, -1), slice(4, 1), slice(9, 12)])
def test_slices_are_those_of_a_list(index):
    g = make_gradients(6)
    assert torch.equal(g[index].dense(), g.dense()[list(range(6))[index]])


def test_to():
    g = make_gradients(5, passes=2)
    assert g.to(torch.float64).dtype == torch.float64
    assert g.to("cpu").device.type == "cpu"


@pytest.mark.parametrize(
    ("residuals", "features", "error", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(4, 2), ValueError, "agree in all but the last dimension"),
        (torch.zeros(3, 2), torch.zeros(3, 1, 2), ValueError, r"residuals and features must be \[N, C\]"),
        (torch.zeros(3), torch.zeros(3), ValueError, r"must be \[N, C\]"),
        (torch.zeros(3, 2, dtype=torch.int64), torch.zeros(3, 2), TypeError, "residuals must have a floating dtype"),
        (torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.float64), TypeError, "share a dtype"),
        ([[1.0]], torch.zeros(1, 1), TypeError, "residuals must be a torch.Tensor or a NumPy array; got list"),
    ],
)
def test_bad_factors_are_named(residuals, features, error, message):
    with pytest.raises(error, match=message):
        LastLayerGradients(residuals, features)


def test_bad_arguments_are_named():
    g = make_gradients(4)
    with pytest.raises(ValueError, match=r"weights must have shape \[4\]; got \[3\]"):
        g.total(torch.ones(3))
    with pytest.raises(IndexError, match="index 4 is out of range for 4 samples"):
        g[4]
    with pytest.raises(IndexError, match="index must select samples"):
        g[0, 1]
    with pytest.raises(ValueError, match="other must have the same C, D and bias"):
        g.gram(LastLayerGradients(g.residuals, g.features, bias=False))
    with pytest.raises(TypeError, match="other must have the same dtype and device"):
        g.gram(g.to(torch.float64))
    with pytest.raises(IndexError, match="index must be a slice of whole numbers"):
        g[::0]


def test_factors_are_detached():
    assert not LastLayerGradients(torch.zeros(2, 2, requires_grad=True), torch.zeros(2, 2)).residuals.requires_grad


def test_an_index_selects_samples_or_is_refused():
    g = LastLayerGradients(torch.rand(4, 3), torch.rand(4, 2))
    assert len(g[np.array([3, 1])[::-1]]) == 2
    assert torch.equal(g[torch.tensor([True, False, True, False])].residuals, g.residuals[[0, 2]])
    assert torch.equal(g[-1].residuals, g.residuals[[3]])
    assert torch.equal(g[::-2].residuals, g.residuals[[3, 1]])
    assert len(g[[]]) == 0
    for wrong in (
        4,
        torch.tensor([-5]),
        (0, 1),
        0.5,
        "one",
        None,
        [[1], [2, 3]],
        [10**30],
        torch.zeros(1, 1, dtype=torch.int64),
        torch.tensor([True]),
    ):
        with pytest.raises(IndexError, match="index"):
            g[wrong]


def test_autocast_does_not_reach_the_products():
    g = LastLayerGradients(torch.randn(40, 5), torch.randn(40, 64))
    plain = (g.gram(), g.total(), pairwise_distances(g), facility_location(g, 10).indices)
    with torch.autocast("cpu", torch.bfloat16):
        inside = (g.gram(), g.total(), pairwise_distances(g), facility_location(g, 10).indices)
    assert all(torch.equal(a, b) for a, b in zip(plain, inside, strict=True))
