"""What the selection functions share: input, statistics, and the gradients' sum."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import acs_fast as acs
from acs_fast import LastLayerGradients, facility_location
from acs_fast.selection.common import total
from tests.helpers import make_gradients


class Largest(TorchDispatchMode):
    """How many elements the largest result of any operator has."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor):
            self.elements = max(self.elements, found.numel())
        return found


X = torch.rand(6, 3)
E = torch.ones(2, 2)
NAN = X.clone().index_fill_(0, torch.tensor([1, 4]), float("nan"))


def test_total_is_the_weighted_sum_and_keeps_one_slice_s_at_a_time():
    torch.manual_seed(0)
    g = LastLayerGradients(torch.randn(96, 30), torch.randn(96, 40))
    weights = torch.rand(96)
    with Largest() as largest:
        found = total(g, weights, rows_at_once=8)
    torch.testing.assert_close(found, g.to(torch.float64).total(weights))
    assert largest.elements <= max(g.residuals.numel(), g.features.numel()), "more than the factors and one sum"
    assert total(g[:0]).shape == found.shape


@pytest.mark.parametrize(("classes", "width"), [(0, 3), (3, 0), (0, 0)])
def test_factors_without_elements_are_selected_from(classes, width):
    g = LastLayerGradients(torch.ones(4, 1, classes), torch.ones(4, 1, width))
    chosen = facility_location(g, 2)
    assert chosen.indices.tolist() == [0, 1]
    assert float(chosen.weights.sum()) == 4.0


def test_one_member_groups_and_everything():
    g = make_gradients(6)
    for select in (acs.facility_location, acs.gradient_matching):
        coreset = select(g, 6, groups=torch.arange(6))
        assert sorted(coreset.indices.tolist()) == [0, 1, 2, 3, 4, 5]
        assert torch.allclose(coreset.weights, torch.ones(6))
        assert coreset.stats["relative_gradient_error"] < 1e-6


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
