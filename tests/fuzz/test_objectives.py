"""Attacks, losses and evaluation: images that stay in range and in the ball, or an error by name."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import acs_fast as acs
from acs_fast.objectives import OBJECTIVES, build_objective
from tests.fuzz import anything
from tests.fuzz.outcome import Refused, accepted, outcome
from tests.fuzz.test_gradients import Model, model

NAMES = st.sampled_from(sorted(OBJECTIVES))
CLASSES = (
    acs.Vanilla, acs.FGSM, acs.NFGSM, acs.PGD, acs.TRADES, acs.ATTA, acs.FGSMPGI, acs.GradAlignFGSM, acs.PerceptualAT,
    acs.CrossEntropy, acs.EpsWarmup, acs.SelectiveAttack,
)  # fmt: skip


def convolution(classes: int) -> nn.Module:
    torch.manual_seed(0)
    return Model(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(3, classes))


@st.composite
def images(draw, n):
    """[n, 1, 2, 2] pixels of [0, 1], also all black or white, of every dtype and layout."""
    x = torch.rand(n, 1, 2, 2, generator=torch.Generator().manual_seed(draw(anything.SEEDS)), dtype=torch.float64)
    x = draw(st.sampled_from([x, x.round(), torch.zeros_like(x), torch.ones_like(x)]))
    x = x.to(draw(st.sampled_from(anything.FLOATING)))
    return anything.laid_out(x, draw(st.sampled_from(anything.LAYOUTS[:5])))


@anything.FUZZED
@given(st.data())
def test_settings(data):
    """Every argument of every objective."""
    kind = data.draw(st.sampled_from(CLASSES))
    values = st.one_of(anything.NUMBERS, st.sampled_from([acs.Vanilla(), acs.PGD(0.1, 0.1, 1)]))
    required = {
        acs.Vanilla: 0,
        acs.PGD: 3,
        acs.TRADES: 4,
        acs.SelectiveAttack: 3,
        acs.EpsWarmup: 2,
        acs.CrossEntropy: 0,
    }.get(kind, 1)
    positional = data.draw(st.lists(values, min_size=required, max_size=required))
    named = {name: data.draw(values) for name in data.draw(st.sets(st.sampled_from(["seed", "label_smoothing"])))}
    taken = kind.__init__.__code__.co_varnames
    outcome(kind, *positional, **{k: v for k, v in named.items() if k in taken})
    settings = {k: data.draw(values) for k in ("eps", "alpha", "steps", "beta", "bound", "label_smoothing", "seed")}
    outcome(build_objective, data.draw(st.one_of(NAMES, values)), settings)


@anything.FUZZED
@given(st.data())
def test_images_stay_in_range_and_losses_are_finite(data):
    n, name = data.draw(st.integers(1, 5)), data.draw(NAMES)
    eps = data.draw(st.sampled_from([0.0, 1e-6, 0.1, 1.0]))
    settings = {
        "eps": eps, "alpha": data.draw(st.sampled_from([0.0, 0.03, 2.0])), "steps": data.draw(st.integers(1, 3)),
        "beta": 6.0, "bound": data.draw(st.sampled_from([0.0, 0.5])), "label_smoothing": data.draw(st.floats(0, 1)),
        "seed": data.draw(anything.SEEDS),
    }  # fmt: skip
    objective, net = build_objective(name, settings), convolution(3)
    x, y = data.draw(images(n)), torch.arange(n) % 3
    before = [(k, v.clone()) for k, v in net.state_dict().items()]
    for _ in range(2):  # a second visit begins at what was remembered
        x_adv = accepted(objective.perturb, net, x, y, index=torch.arange(n) * 3)
    assert x_adv.shape == x.shape
    assert x_adv.dtype == x.dtype
    assert bool(((x_adv >= 0) & (x_adv <= 1)).all())
    moved = (x_adv.double() - x.detach().double()).flatten(1)
    if name in ("vanilla", "fgsm", "pgd", "pgd-l2", "trades", "atta", "fgsm-pgi", "fgsm-gradalign"):
        distance = moved.norm(dim=1) if name == "pgd-l2" else moved.abs().amax(1)
        assert float(distance.max()) <= eps + 2 * torch.finfo(x.dtype).eps
    assert all(
        torch.equal(v, net.state_dict()[k]) and p.grad is None
        for (k, v), p in zip(before, net.parameters(), strict=True)
    )
    losses = accepted(objective.per_sample_loss, net, x, x_adv, y)
    assert losses.shape == (n,)
    losses = losses.detach()
    assert bool(losses.isfinite().all() and (losses >= -1e-6).all())
    weights = anything.plain(data.draw(anything.tensors(n, kinds=("normal",))))
    mean = accepted(acs.weighted_mean, losses, weights)
    assert float(mean) == pytest.approx(float((weights.to(losses) * losses).sum() / n), rel=1e-5, abs=1e-6)


@anything.FUZZED
@given(st.data())
def test_anything_else(data):
    """Images, labels, starts and numbers of every kind."""
    objective = build_objective(data.draw(NAMES), {"eps": 0.1, "alpha": 0.1, "steps": 1, "beta": 1.0, "seed": 0})
    net, good, anywhere = convolution(3), data.draw(st.booleans()), st.one_of(anything.junk(), anything.NUMBERS)
    x = torch.rand(3, 1, 2, 2) if good else data.draw(anywhere)
    y = torch.arange(3) if data.draw(st.booleans()) else data.draw(anywhere)
    start, index = (data.draw(st.one_of(st.none(), anywhere)) for _ in range(2))
    outcome(objective.perturb, net, x, y, start=start, index=index)
    outcome(objective.per_sample_loss, net, x, x, y)
    outcome(
        acs.weighted_mean,
        data.draw(anywhere),
        data.draw(anywhere),
        denominator=data.draw(st.one_of(st.none(), anywhere)),
    )


@anything.FUZZED
@given(st.data())
def test_evaluation(data):
    """Robust accuracy is at most that under PGD, which is at most clean accuracy; settings of every kind."""
    n, net = data.draw(st.integers(1, 5)), model(3)
    x, y = data.draw(images(n)).detach().float(), torch.arange(n) % 3
    settings = {"eps": 0.1, "steps": 2, "restarts": 1, "curve": (0.05,), "autoattack": False}
    found = accepted(acs.evaluate, net, [(x, y), {"image": x, "label": y}], **settings)
    assert found["clean"] == pytest.approx(float((net(x).argmax(1) == y).double().mean()))
    assert found["robust"] <= found["pgd"] <= found["clean"]
    assert found["images"] == {"test": 2 * n, "attacked": 2 * n}
    values = st.one_of(anything.NUMBERS, anything.junk())
    odd = {
        k: data.draw(values) for k in data.draw(st.sets(st.sampled_from(["eps", "limit", "seed", "groups", "norm"])))
    }
    odd |= {k: data.draw(st.one_of(st.integers(-1, 2), st.floats(), st.none())) for k in ("steps", "restarts")}
    batches = [(x, y)] if data.draw(st.booleans()) else data.draw(st.lists(st.tuples(values, values), max_size=1))
    found = outcome(acs.evaluate, net, batches, **{**settings, **odd})
    assert isinstance(found, Refused) or 0.0 <= found["robust"] <= 1.0
