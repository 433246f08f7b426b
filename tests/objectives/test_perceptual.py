"""Perceptual distances and the attack that stays near a bound in them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import acs_fast as acs
from tests.helpers import ConvNet


def test_distance_is_that_of_the_definition():
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2)
    network = nn.Sequential(first, nn.ReLU(), second)
    x, other = torch.rand(5, 3, 9, 9), torch.rand(5, 3, 9, 9)

    def phi(v):
        a = first(v)
        b = second(a.relu())
        return torch.cat([F.normalize(t, dim=1).flatten(1) / (t.shape[2] * t.shape[3]) ** 0.5 for t in (a, b)], 1)

    expected = (phi(x) - phi(other)).norm(dim=1)
    torch.testing.assert_close(acs.PerceptualDistance(network)(x, other), expected)
    torch.testing.assert_close(acs.PerceptualDistance(network, ["0", "2"])(x, other), expected)
    assert acs.PerceptualDistance(network)(x, x).tolist() == [0.0] * 5
    assert not torch.allclose(acs.PerceptualDistance(network, ["2"])(x, other), expected)


def test_one_layer_a_resolution_by_default():
    network = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1) for _ in range(3)), nn.Conv2d(1, 1, 3))
    x, other = torch.rand(2, 2, 1, 8, 8)
    found, named = (acs.PerceptualDistance(network, layers)(x, other) for layers in (None, ["2", "3"]))
    assert torch.equal(found, named)


@pytest.mark.parametrize("given", ["own", "network", "callable"])
def test_attack_keeps_near_the_bound_and_fools_more_with_more_room(model, batch, given):
    x, y = batch
    torch.manual_seed(1)
    other = acs.PerceptualDistance(ConvNet().double().eval())
    distance = {"own": None, "network": other, "callable": lambda a, b: other(a, b).view(-1, 1, 1, 1)}[given]
    measure = acs.PerceptualDistance(model) if given == "own" else other
    losses = []
    for bound in (0.1, 0.5):
        x_adv = acs.PerceptualAT(bound, 20, distance, seed=3).perturb(model, x, y)
        assert 0.0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1.0
        d = measure(x, x_adv).detach()
        assert float(d.max()) < 1.25 * bound
        assert float(d.median()) > 0.5 * bound
        losses.append(F.cross_entropy(model(x_adv), y).item())
    assert F.cross_entropy(model(x), y).item() < losses[0] < losses[1]


def test_one_step_by_hand(model, batch):
    x, y = batch
    objective, again = acs.PerceptualAT(0.4, 1, seed=3), acs.PerceptualAT(0.4, 1, seed=3)
    noise = torch.empty_like(x).normal_(0.0, 0.01, generator=again.attack.generator(torch.device("cpu")))
    start = (x + noise).clamp(0, 1).requires_grad_()
    measure, z = acs.PerceptualDistance(model), model(start)
    right = z.gather(1, y[:, None])[:, 0]
    best = z.masked_fill(F.one_hot(y, 5).bool(), -torch.inf).amax(1)
    (best - right - 10.0 * (measure(start, x) - 0.4).relu()).sum().backward()
    direction = F.normalize(start.grad.flatten(1)).view_as(x)
    start = start.detach()
    speed = measure(start, start + 0.1 * direction) / 0.1
    expected = (start + (0.04 / speed).view(-1, 1, 1, 1) * direction).clamp(0, 1)
    torch.testing.assert_close(objective.perturb(model, x, y), expected)


def test_distance_network_is_left_as_it_was(model, batch):
    other = ConvNet().double().train()
    before = {k: v.clone() for k, v in other.state_dict().items()}
    acs.PerceptualAT(0.5, 2, acs.PerceptualDistance(other)).perturb(model, *batch)
    assert other.training
    assert other.norm.training
    assert all(p.requires_grad and p.grad is None for p in other.parameters())
    assert all(torch.equal(v, before[k]) for k, v in other.state_dict().items())


def test_compiled_models_are_measured_too(model, batch):
    found = acs.PerceptualAT(0.5, 2, seed=1).perturb(torch.compile(model, backend="eager"), *batch)
    assert torch.equal(found, acs.PerceptualAT(0.5, 2, seed=1).perturb(model, *batch))


def test_bad_arguments_are_named(model, batch):
    with pytest.raises(TypeError, match=r"network must be an nn.Module; got function"):
        acs.PerceptualDistance(lambda x: x)
    with pytest.raises(ValueError, match=r"layers must name modules of the network; got 'stem'. It has: conv, norm"):
        acs.PerceptualDistance(model, ["stem"])
    with pytest.raises(ValueError, match="it did not run a convolution"):
        acs.PerceptualDistance(nn.Flatten())(batch[0], batch[0])
    with pytest.raises(TypeError, match="distance must be callable"):
        acs.PerceptualAT(0.5, distance=3)
    for wrong, message in ((lambda a, b: (a - b).norm(), r"got shape \[\]"), (lambda a, b: 0.0, "got float")):
        with pytest.raises(ValueError, match=rf"distance must return one number an image, \[8\]; {message}"):
            acs.PerceptualAT(0.5, 1, wrong).perturb(model, *batch)


class Casting(nn.Sequential):
    """Takes images of any dtype."""

    def forward(self, x):
        return super().forward(x.to(self[0].weight.dtype))


@pytest.mark.parametrize("bound", [0.5, 1e39])
@pytest.mark.parametrize("images", [None, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_images_that_move_nothing_stay_numbers(dtype, images, bound):
    network = Casting(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(3, 3)).to(dtype)
    with torch.no_grad():
        network[0].bias.fill_(-100.0)  # no unit is active, so no step has a length
    x, y = torch.ones(4, 1, 2, 2, dtype=images or dtype), torch.arange(4) % 3
    x_adv = acs.PerceptualAT(bound, 2, seed=0).perturb(network, x, y)
    assert bool(((x_adv >= 0) & (x_adv <= 1)).all())
