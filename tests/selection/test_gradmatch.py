"""Gradient matching: against the textbook, of another target, of a trusted set in place of the data."""

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from torch.utils.data import TensorDataset

import acs_fast as acs
from tests.helpers import ConvNet, images, make_gradients, textbook_matching
from tests.loops import N


def test_a_trusted_set_is_matched_in_place_of_the_data():
    def trusted(model):
        x, y = images(40, seed=5)
        return acs.AttackPass(model, TensorDataset(x, y), acs.PGD(0.1, 0.05, 2, seed=1))

    torch.manual_seed(7)
    model = ConvNet()
    own = trusted(model)(0)
    g, labels = acs.AttackPass(model, TensorDataset(*images(N)), acs.Vanilla())(0).gradients, images(N)[1]
    for per_class in (True, False):
        selector = acs.GradMatch(per_class=per_class, target=trusted(model), fill="none")
        chosen = selector.select(N, 30, g, labels, 0)
        reached = g[chosen.indices].total(chosen.weights)
        if per_class:
            shares = torch.bincount(labels) / torch.bincount(own.labels)
            wanted = own.gradients.total(shares[own.labels])
        else:
            wanted = own.gradients.total() * (N / 40)
        error = float((reached - wanted).norm() / wanted.norm())
        assert chosen.stats["relative_gradient_error"] == pytest.approx(error, rel=1e-3, abs=1e-5)
        assert error < float((g.total() - wanted).norm() / wanted.norm())
    one = TensorDataset(images(N)[0][:1], images(N)[1][:1])
    selector = acs.GradMatch(target=acs.AttackPass(model, one, acs.Vanilla()))
    with pytest.raises(ValueError, match="target must hold a trusted sample of every class; got none of class"):
        selector.select(N, 30, g, labels, 0)


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
