"""Factored gradients and what is taken of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import TensorDataset

import acs_fast as acs
from tests.fuzz import anything
from tests.fuzz.outcome import Refused, accepted, outcome
from tests.fuzz.test_selection import dense, sizes, tolerance


@anything.FUZZED
@given(anything.gradients(most=15), st.data())
def test_products_and_sums(g, data):
    x, off = dense(g), tolerance(g) * float(sizes(g).max()) + 1e-44
    assert g.dense().shape == x.shape
    other = data.draw(st.sampled_from([g, g[: max(1, len(g) // 2)], g[torch.randperm(len(g))]]))
    y = dense(other)
    assert bool(((g.gram(other).double() - x @ y.T).abs() <= off * float(sizes(g).max()) + 1e-44).all())
    assert bool(((g.squared_norms().double() - x.square().sum(1)).abs() <= off * sizes(g) + 1e-44).all())
    weights = data.draw(st.one_of(st.none(), anything.tensors(len(g), kinds=("normal",), dtypes=(torch.float32,))))
    weights = None if weights is None else anything.plain(weights)
    w = torch.ones(len(g)).double() if weights is None else weights.double()
    total, expected = accepted(g.total, weights).double(), w @ x
    c, d = g.residuals.shape[2], g.features.shape[2]
    flat = torch.cat([total[:, :d].flatten(), total[:, d:].flatten()])
    assert bool(((flat - expected).abs() <= len(g) * off * float(w.abs().max()) + 1e-44).all())
    assert total.shape == (c, d + int(g.bias))


@anything.FUZZED
@given(anything.gradients(most=10), st.data())
def test_error_of_a_coreset(g, data):
    picks = torch.randperm(len(g), generator=torch.Generator().manual_seed(0))[: data.draw(st.integers(0, len(g)))]
    weights = anything.plain(data.draw(anything.tensors(len(picks), kinds=("normal",), dtypes=anything.FULL)))
    x = dense(g)
    error, scale = float((weights.double() @ x[picks] - x.sum(0)).norm()), float(x.sum(0).norm())
    found = accepted(acs.gradient_error, g, picks, weights)
    if scale > 1e-6 * float(sizes(g).max()):
        assert found == pytest.approx(error / scale, rel=1e-5, abs=1e-9)


@anything.FUZZED
@given(st.data())
def test_anything_else(data):
    anywhere = st.one_of(anything.junk(), anything.gradients(most=4), anything.NUMBERS)
    found = outcome(acs.LastLayerGradients, data.draw(anywhere), data.draw(anywhere), data.draw(anything.NUMBERS))
    outcome(acs.LastLayerGradients.from_vectors, data.draw(anywhere))
    g = data.draw(anything.gradients(most=4)) if isinstance(found, Refused) else found
    outcome(g.gram, data.draw(st.one_of(st.none(), anything.gradients(most=4))))
    outcome(g.total, data.draw(anything.junk()))
    outcome(acs.gradient_error, g, data.draw(anything.junk()), data.draw(anything.junk()), data.draw(anything.junk()))


@anything.FUZZED
@given(st.data())
def test_indices(data):
    g = data.draw(anything.gradients(most=6))
    index = data.draw(st.one_of(
        anything.junk(), anything.NUMBERS, st.slices(6), st.lists(st.integers(-8, 8), max_size=5),
        st.lists(st.booleans(), min_size=1, max_size=8).map(torch.tensor), st.tuples(st.integers(0, 2)),
    ))  # fmt: skip
    found = outcome(g.__getitem__, index, kinds=(IndexError,))
    if not isinstance(found, Refused):
        assert found.residuals.shape[1:] == g.residuals.shape[1:]
        assert len(found.residuals) == len(found.features)


class Model(nn.Sequential):
    """A model that says what images it takes."""

    def forward(self, x):
        if not isinstance(x, torch.Tensor) or x.shape[1:] != (1, 2, 2) or x.is_complex():
            raise ValueError("the model takes images of 2 x 2 pixels")
        return super().forward(x.float())


def model(classes: int) -> nn.Module:
    torch.manual_seed(0)
    return Model(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, classes))


@anything.FUZZED
@given(st.data())
def test_of_a_model(data):
    """Batches of images and labels of every kind; those that are in order give autograd's gradients."""
    classes, n = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 7))
    good = data.draw(st.booleans())
    x = torch.rand(n, 1, 2, 2) if good else data.draw(anything.junk())
    y = torch.arange(n) % classes if good else data.draw(anything.junk())
    net = model(classes)
    batch = data.draw(st.sampled_from([(x, y), [x, y, 3], {"image": x, "label": y}]))
    found = outcome(acs.last_layer_gradients, net, [batch], acs.Vanilla(), show_progress=False)
    if good:
        assert not isinstance(found, Refused), found
        net.zero_grad()
        nn.functional.cross_entropy(net(x), y, reduction="sum").backward()
        torch.testing.assert_close(found.total()[:, :5], net[3].weight.grad, rtol=1e-4, atol=1e-5)


@anything.FUZZED
@given(st.data())
def test_a_coreset_in_a_loop(data):
    """Epochs, orders, weights and a resumption, whatever the settings."""
    n, epochs = data.draw(st.integers(1, 14)), data.draw(st.integers(1, 6))
    dataset = TensorDataset(torch.rand(n, 1, 2, 2), torch.arange(n) % 3)
    options = {
        "selector": data.draw(
            st.sampled_from(["craig", "gradmatch", "random", "round-robin", "clusters", acs.PerBatch(acs.Craig())])
        ),
        "fraction": data.draw(st.sampled_from([0.01, 0.3, 0.5, 1.0])), "epochs": epochs,
        "period": data.draw(st.integers(1, 4)), "warm_start": data.draw(st.sampled_from([0.0, 0.4, 1.0])),
        "seed": data.draw(anything.SEEDS),
    }  # fmt: skip

    def made():
        return acs.AdversarialCoreset(model(3), dataset, acs.PGD(0.1, 0.05, 1, seed=0), **options)

    def orders(coreset, numbers):
        seen = []
        for epoch in numbers:
            if isinstance(outcome(coreset.step, epoch), Refused):
                assert coreset.budget < min(3, n)
                return None
            order = list(coreset.sampler)
            assert len(order) == len(coreset.sampler) > 0
            weights = coreset.weights(torch.tensor(order))
            assert float(weights.mean()) == pytest.approx(1.0, abs=1e-4)
            seen.append((epoch, order, weights.tolist()))
        return seen

    coreset = outcome(made)
    if isinstance(coreset, Refused):
        assert "train in at least one" in coreset.message
        return
    whole = orders(coreset, coreset.epochs)
    if whole is None:
        return
    cut = data.draw(st.integers(0, len(coreset.epochs)))
    first, second = made(), made()
    begun = orders(first, first.epochs[:cut])
    second.load_state_dict(first.state_dict())
    assert begun + orders(second, second.epochs[cut:]) == whole


@anything.FUZZED
@given(st.data())
def test_settings_of_a_coreset(data):
    dataset = TensorDataset(torch.rand(5, 1, 2, 2), torch.arange(5) % 3)
    options = {
        name: data.draw(anything.NUMBERS)
        for name in data.draw(st.sets(st.sampled_from(
            ["fraction", "epochs", "period", "warm_start", "seed", "num_replicas", "rank", "selector"]
        )))
    }  # fmt: skip
    if isinstance(options.get("epochs"), int):
        options["epochs"] = min(options["epochs"], 1000)
    outcome(acs.AdversarialCoreset, model(3), dataset, acs.Vanilla(), **{"epochs": 4, **options})
    outcome(acs.AdversarialCoreset, model(3), data.draw(anything.junk()), acs.Vanilla(), epochs=2)
