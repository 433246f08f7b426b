"""Gradient matching of a trusted set in place of the data."""

import pytest
import torch
from torch.utils.data import TensorDataset

import acs_fast as acs
from tests.helpers import ConvNet, images
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
