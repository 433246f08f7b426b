"""Every objective: attacks stay where they must and reach what they can; residuals are the gradients of the losses."""

import io
import random

import numpy as np
import pytest
import torch
from torch import nn

import acs_fast as acs
from tests.helpers import ConvNet, images

ATTACKS = {
    "fgsm": lambda: acs.FGSM(0.1, seed=3),
    "nfgsm": lambda: acs.NFGSM(0.1, seed=3),
    "fgsm-gradalign": lambda: acs.GradAlignFGSM(0.1, seed=3),
    "fgsm-pgi": lambda: acs.FGSMPGI(0.1, seed=3),
    "atta": lambda: acs.ATTA(0.1, seed=3),
    "pgd": lambda: acs.PGD(0.1, 0.03, 5, seed=3),
    "pgd-l2": lambda: acs.PGD(0.5, 0.15, 5, norm="l2", seed=3),
    "trades": lambda: acs.TRADES(6.0, 0.1, 0.03, 5, seed=3),
    "perceptual": lambda: acs.PerceptualAT(0.5, 5, seed=3),
}
REACH = {
    "nfgsm": 0.3,
    "pgd-l2": 0.5,
    **dict.fromkeys(("fgsm", "fgsm-gradalign", "fgsm-pgi", "atta", "pgd", "trades"), 0.1),
}
PASSES = {"trades": 2, "fgsm-pgi": 2}  # of the head; 1 for the others


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ConvNet().train()


@pytest.fixture(scope="module")
def trained():
    """A small model that has learned something: on which side of the image the light is."""
    torch.manual_seed(0)
    model = ConvNet(3).train()
    x, y = lights(512)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9)
    for i in torch.randperm(512).repeat(12).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[i]), y[i]).backward()
        optimizer.step()
    x, y = lights(128, seed=1)
    assert float((model.eval()(x).argmax(1) == y).float().mean()) > 0.95
    return model


def lights(n, seed=0):
    g = torch.Generator().manual_seed(seed)
    x, y = 0.7 * torch.rand(n, 1, 8, 8, generator=g), torch.randint(3, (n,), generator=g)
    for label in range(3):
        x[y == label, :, :, 3 * label : 3 * label + 2] += 0.2
    return x, y


@pytest.mark.parametrize("name", REACH)
def test_attack_stays_in_ball_and_range(name, model):
    x, y = images(12)
    objective = ATTACKS[name]()
    delta = objective.perturb(model, x, y) - x
    norm = 2 if name == "pgd-l2" else float("inf")
    reach = REACH[name]
    assert float(torch.linalg.vector_norm(delta.flatten(1), norm, dim=1).max()) <= reach + 1e-6
    assert float((x + delta).min()) >= 0.0
    assert float((x + delta).max()) <= 1.0
    assert float(delta.abs().max()) > 0.5 * reach / (8 if name == "pgd-l2" else 1)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_beats_random_noise_of_the_same_size(name, trained):
    x, y = lights(128, seed=2)
    x_adv = ATTACKS[name]().perturb(trained, x, y)
    signs = 2 * torch.randint(2, x.shape, generator=torch.Generator().manual_seed(1)) - 1
    noise = (x + signs * (x_adv - x)).clamp(0, 1)  # every pixel as far, to a random side
    attacked, noisy = (nn.functional.cross_entropy(trained(v), y) for v in (x_adv, noise))
    assert attacked > 2 * noisy


@pytest.mark.parametrize("name", [*ATTACKS, "vanilla"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_residuals_are_gradients_of_the_loss(name, dtype):
    objective = acs.Vanilla() if name == "vanilla" else ATTACKS[name]()
    views = PASSES.get(name, 1)
    torch.manual_seed(1)
    logits = tuple(3.0 * torch.randn(7, 5, dtype=dtype) for _ in range(views))
    y = torch.randint(5, (7,))
    by_autograd = acs.Loss.residuals(objective.loss, logits, y)
    torch.testing.assert_close(objective.loss.residuals(logits, y), by_autograd)
    assert by_autograd.shape == (7, views, 5)


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
@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("name", ATTACKS)
def test_attack_leaves_no_trace_also_when_it_raises(model, name, train_mode, raises):
    x, y = images(8)
    model.conv.weight.requires_grad_(False)
    model.norm.eval()  # a frozen part stays frozen
    several = name in ("pgd", "pgd-l2", "trades", "perceptual")
    wrapped = Failing(model, (2 if several else 0) if raises else 100)
    before, state = _snapshot(model), _global_random_state()
    objective = ATTACKS[name]()
    if name != "perceptual":
        objective.attack.train_mode = train_mode
    if raises:
        with pytest.raises(ArithmeticError, match="on purpose"):
            objective.perturb(wrapped, x, y)
    else:
        objective.perturb(wrapped, x, y)
    after = _snapshot(model)
    assert after[0] == before[0]
    assert after[2] == before[2]
    assert all(torch.equal(after[1][k], v) for k, v in before[1].items())
    assert _global_random_state() == state
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("name", ATTACKS)
def test_a_resumed_objective_goes_on_with_the_same_bits(model, name):
    x, y = images(12)
    first, second = ATTACKS[name](), ATTACKS[name]()
    index = torch.tensor([7, 3, 9, 20])
    first.perturb(model, x[:4], y[:4], index=index)
    first.perturb(model, x[4:], y[4:])
    buffer = io.BytesIO()
    torch.save(first.state_dict(), buffer)
    buffer.seek(0)
    second.load_state_dict(torch.load(buffer, weights_only=True))
    for options in ({"index": index}, {}):
        results = [o.perturb(model, x[:4], y[:4], **options) for o in (first, second)]
        assert torch.equal(*results)
        losses = [
            o.per_sample_loss(model.eval(), x[:4], v, y[:4]) for o, v in zip((first, second), results, strict=True)
        ]
        assert torch.equal(*losses)


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: acs.PGD(-0.1, 0.1, 1), r"eps must be finite and in \[0, inf\); got -0.1"),
        (lambda: acs.FGSM(-0.1), "eps must be finite"),
        (lambda: acs.PGD(8, 2, 1), r"eps must be in pixels of \[0, 1\]; got 8. Did you mean 8/255"),
        (lambda: acs.PGD(0.1, -0.1, 1), "alpha must be finite"),
        (lambda: acs.PGD(0.1, 0.1, 0), "steps must be at least 1; got 0"),
        (lambda: acs.PGD(0.1, 0.1, 1, norm="l1"), "norm must be one of 'l2', 'linf'; got 'l1'"),
        (lambda: acs.TRADES(-1.0, 0.1, 0.1, 1), "beta must be finite"),
        (lambda: acs.PGD(0.1, 0.1, 1, label_smoothing=1.5), r"label_smoothing must be finite and in \[0, 1\]; got 1.5"),
        (lambda: acs.TRADES(1.0, 0.1, 0.1, 1, label_smoothing=-0.1), "label_smoothing must be finite"),
        (lambda: acs.NFGSM(0.1, k=-1.0), "k must be finite"),
        (lambda: acs.NFGSM(8), "eps must be in pixels of"),
        (lambda: acs.NFGSM(0.1, alpha=-1.0), "alpha must be finite"),
        (lambda: acs.GradAlignFGSM(0.1, lam=-1.0), "lam must be finite"),
        (lambda: acs.FGSMPGI(0.1, lam=float("inf")), "lam must be finite"),
        (lambda: acs.FGSMPGI(0.1, momentum=1.5), r"momentum must be finite and in \[0, 1\]"),
        (lambda: acs.PerceptualAT(-1.0), "bound must be finite"),
        (lambda: acs.PerceptualAT(0.5, 0), "steps must be at least 1; got 0"),
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
    with pytest.raises(TypeError, match=r"x must be a floating tensor .* got torch.float8_e4m3fn"):
        objective.perturb(model, x.to(torch.float8_e4m3fn), y)
    with pytest.raises(TypeError, match=r"start must have a floating dtype .* got torch.complex64"):
        objective.perturb(model, x, y, start=x.to(torch.complex64))
    with pytest.raises(ValueError, match=r"y must have shape \[4\] like the batch; got \[3\]"):
        objective.perturb(model, x, y[:3])
    with pytest.raises(ValueError, match=r"y must hold labels in \[0, 5\) for 5 logits; got labels in"):
        objective.per_sample_loss(model, x, x, y + 5)
    with pytest.raises(ValueError, match=r"start must have the shape of x, \[4, 1, 8, 8\]; got \[3, 1, 8, 8\]"):
        objective.perturb(model, x, y, start=x[:3])
