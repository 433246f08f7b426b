"""Attacks stay where they must and reach what they can; residuals are the gradients of the losses."""

import random

import numpy as np
import pytest
import torch
from torch import nn

import acs_fast as acs
from acs_fast.objectives.balls import ball
from tests.helpers import ConvNet, images

ATTACKS = {
    "fgsm": lambda: acs.FGSM(0.1, seed=3),
    "pgd": lambda: acs.PGD(0.1, 0.03, 5, seed=3),
    "pgd-l2": lambda: acs.PGD(0.5, 0.15, 5, norm="l2", seed=3),
    "trades": lambda: acs.TRADES(6.0, 0.1, 0.03, 5, seed=3),
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ConvNet().train()


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_stays_in_ball_and_range(name, model):
    x, y = images(12)
    objective = ATTACKS[name]()
    delta = objective.perturb(model, x, y) - x
    norm = 2 if name == "pgd-l2" else float("inf")
    assert float(torch.linalg.vector_norm(delta.flatten(1), norm, dim=1).max()) <= objective.eps + 1e-6
    assert float((x + delta).min()) >= 0.0
    assert float((x + delta).max()) <= 1.0
    assert float(delta.abs().max()) > 0.5 * objective.eps / (8 if name == "pgd-l2" else 1)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_beats_random_noise_of_the_same_size(name, model):
    model.eval()
    x, y = images(64)
    objective = ATTACKS[name]()
    noise = ball("l2" if name == "pgd-l2" else "linf", objective.eps).random(x, torch.Generator().manual_seed(1))
    losses = [objective.per_sample_loss(model, x, v, y).mean() for v in (objective.perturb(model, x, y), noise)]
    assert losses[0] > losses[1] + 1e-3


@pytest.mark.parametrize("name", [*ATTACKS, "vanilla"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_residuals_are_gradients_of_the_loss(name, dtype):
    objective = acs.Vanilla() if name == "vanilla" else ATTACKS[name]()
    views = len(objective.views(torch.zeros(1), torch.zeros(1)))
    torch.manual_seed(1)
    logits = tuple(3.0 * torch.randn(7, 5, dtype=dtype) for _ in range(views))
    y = torch.randint(5, (7,))
    by_autograd = acs.Objective.residuals(objective, logits, y)
    torch.testing.assert_close(objective.residuals(logits, y), by_autograd)
    assert by_autograd.shape == (7, views, 5)


def test_trades_loss_is_the_published_one():
    torch.manual_seed(0)
    z, z_adv, y = torch.randn(6, 4), torch.randn(6, 4), torch.randint(4, (6,))
    p, q = z.softmax(1), z_adv.softmax(1)
    expected = -p[torch.arange(6), y].log() + 6.0 * (p * (p / q).log()).sum(1)
    torch.testing.assert_close(acs.TRADES(6.0, 0.1, 0.01, 1).loss_from_logits((z, z_adv), y), expected)


class Failing(nn.Module):
    """Works a number of times, then raises, with a trace to leave behind."""

    def __init__(self, inner, passes):
        super().__init__()
        self.inner, self.left = inner, passes

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise ArithmeticError("on purpose")
        return self.inner(x)


def _snapshot(model):
    flags = [m.training for m in model.modules()]
    tensors = {k: v.clone() for k, v in model.state_dict().items()}
    return flags, tensors, [p.requires_grad for p in model.parameters()]


def _global_random_state():
    return torch.get_rng_state().tolist(), str(random.getstate()), str(np.random.get_state())  # noqa: NPY002


@pytest.mark.parametrize("train_mode", [False, True])
@pytest.mark.parametrize("passes", [100, 2])
def test_attack_leaves_no_trace_also_when_it_raises(model, train_mode, passes):
    x, y = images(8)
    model.conv.weight.requires_grad_(False)
    model.norm.eval()  # a frozen part stays frozen
    wrapped = Failing(model, passes)
    before, state = _snapshot(model), _global_random_state()
    objective = acs.PGD(0.1, 0.03, 5, train_mode=train_mode)
    if passes == 100:
        objective.perturb(wrapped, x, y)
    else:
        with pytest.raises(ArithmeticError, match="on purpose"):
            objective.perturb(wrapped, x, y)
    after = _snapshot(model)
    assert after[0] == before[0]
    assert after[2] == before[2]
    assert all(torch.equal(after[1][k], v) for k, v in before[1].items())
    assert _global_random_state() == state
    assert all(p.grad is None for p in model.parameters())


def test_own_random_numbers_follow_the_seed_and_the_state(model):
    x, y = images(4)
    first, second = acs.FGSM(0.1, seed=1), acs.FGSM(0.1, seed=1)
    one = first.perturb(model, x, y)
    assert torch.equal(one, second.perturb(model, x, y))
    state = first.state_dict()
    two = first.perturb(model, x, y)
    assert not torch.equal(one, two)
    second.load_state_dict(state)
    assert torch.equal(second.perturb(model, x, y), two)


def test_callable_attack_is_contained_and_fresh_each_time(model):
    x, y = images(4)

    def attack(x, y):
        model.train()  # rude, as some libraries are
        return (x + 0.1 * torch.rand_like(x)).clamp(0, 1)

    model.eval()
    objective = acs.WithAttack(attack, seed=0)
    state = torch.get_rng_state()
    one, two = (objective.perturb(model, x, y) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    assert not torch.equal(one, two)


@pytest.mark.parametrize("dims", [1, 2, 64])
def test_random_points_fill_the_l2_ball_uniformly(dims):
    x = torch.full((4000, dims), 0.5)
    r = (ball("l2", 0.3).random(x, torch.Generator().manual_seed(0)) - x).norm(dim=1) / 0.3
    assert float(r.max()) <= 1.0 + 1e-5
    # P(radius <= t) = t^dims: the transformed radii are uniform
    assert abs(float((r**dims).mean()) - 0.5) < 0.02


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: acs.PGD(-0.1, 0.1, 1), r"eps must be finite and in \[0, inf\]; got -0.1"),
        (lambda: acs.FGSM(-0.1), "eps must be finite"),
        (lambda: acs.PGD(8, 2, 1), r"eps must be in pixels of \[0, 1\]; got 8. Did you mean 8/255"),
        (lambda: acs.PGD(0.1, -0.1, 1), "alpha must be finite"),
        (lambda: acs.PGD(0.1, 0.1, 0), "steps must be at least 1; got 0"),
        (lambda: acs.PGD(0.1, 0.1, 1, norm="l1"), "norm must be one of 'l2', 'linf'; got 'l1'"),
        (lambda: acs.TRADES(-1.0, 0.1, 0.1, 1), "beta must be finite"),
        (lambda: acs.TRADES(1.0, float("nan"), 0.1, 1), "eps must be finite"),
    ],
)
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_images_and_labels_are_named(model):
    x, y = images(4)
    objective = acs.PGD(0.1, 0.1, 1)
    with pytest.raises(ValueError, match=r"x must be pixels in \[0, 1\]; got values in \[-"):
        objective.perturb(model, 2 * x - 1, y)
    with pytest.raises(ValueError, match=r"x must be pixels in \[0, 1\]"):
        objective.perturb(model, x * float("nan"), y)
    with pytest.raises(TypeError, match=r"divide bytes by 255"):
        objective.perturb(model, (255 * x).byte(), y)
    with pytest.raises(ValueError, match=r"y must have shape \[4\] like the batch; got \[3\]"):
        objective.perturb(model, x, y[:3])
    with pytest.raises(ValueError, match=r"y must hold labels in \[0, 5\) for 5 logits; got labels in"):
        objective.per_sample_loss(model, x, x, y + 5)
    with pytest.raises(ValueError, match=r"attack must return images of shape \[4, 1, 8, 8\]"):
        acs.WithAttack(lambda x, y: x[:1]).perturb(model, x, y)
    with pytest.raises(ValueError, match=r"attack must return pixels in \[0, 1\]"):
        acs.WithAttack(lambda x, y: x + 2).perturb(model, x, y)
