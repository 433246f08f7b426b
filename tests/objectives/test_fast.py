"""Fast objectives: noise beyond the ball, aligned gradients, and attacks that go on from earlier ones."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import acs_fast as acs
from acs_fast.objectives.balls import ball
from acs_fast.objectives.fast import misalignment
from tests.helpers import ConvNet, images

CPU = torch.device("cpu")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ConvNet().double().eval()


@pytest.fixture
def batch():
    x, y = images(8)
    return x.double(), y


def signs(model, x, y):
    x = x.clone().requires_grad_()
    F.cross_entropy(model(x), y, reduction="sum").backward()
    return x.grad.sign()


def test_noise_fgsm_is_a_step_from_a_noisy_image_without_projection(model, batch):
    x, y = batch
    objective, again = acs.NFGSM(0.1, k=1.5, seed=3), acs.NFGSM(0.1, k=1.5, seed=3)
    noise = torch.empty_like(x).uniform_(-0.15, 0.15, generator=again.generator(CPU))
    noisy = (x + noise).clamp(0, 1)
    expected = (noisy + 0.1 * signs(model, noisy, y)).clamp(0, 1)
    x_adv = objective.perturb(model, x, y)
    torch.testing.assert_close(x_adv, expected, rtol=0, atol=1e-15)
    assert float((x_adv - x).abs().max()) > 0.2


def test_misalignment_is_one_minus_the_cosine():
    torch.manual_seed(0)
    a, b = torch.randn(4, 3, 5, 5, dtype=torch.float64, requires_grad=True), torch.randn(4, 3, 5, 5).double()
    found = misalignment(a, b)
    torch.testing.assert_close(found, 1 - F.cosine_similarity(a.flatten(1), b.flatten(1)))
    torch.testing.assert_close(misalignment(1e-300 * a, b), found)
    assert torch.autograd.gradcheck(lambda v: misalignment(v, b), a)
    a = torch.zeros(2, 3, requires_grad=True)
    penalty = misalignment(a, torch.ones(2, 3))
    assert penalty.tolist() == [0.0, 0.0]
    assert torch.autograd.grad(penalty.sum(), a)[0].tolist() == [[0.0] * 3] * 2


def test_aligned_loss_is_the_published_one_and_trains_every_parameter(model, batch):
    x, y = batch
    objective, again = acs.GradAlignFGSM(0.1, lam=0.7, seed=3), acs.GradAlignFGSM(0.1, lam=0.7, seed=3)
    x_adv = objective.perturb(model, x, y)
    torch.testing.assert_close(x_adv, (x + 0.1 * signs(model, x, y)).clamp(0, 1), rtol=0, atol=1e-15)
    noisy = ball("linf", 0.1).random(x, again.generator(CPU))

    def slope(v):
        v = v.clone().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(model(v), y, reduction="sum"), v, create_graph=True)[0].flatten(1)

    expected = F.cross_entropy(model(x_adv), y, reduction="none")
    expected = expected + 0.7 * (1 - F.cosine_similarity(slope(x), slope(noisy)))
    found = objective.per_sample_loss(model, x, x_adv, y)
    torch.testing.assert_close(found, expected)
    parameters = list(model.parameters())
    for a, b in zip(*(torch.autograd.grad(losses.mean(), parameters) for losses in (found, expected)), strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        assert not objective.per_sample_loss(model, x, x_adv, y).requires_grad


def test_first_prior_guided_attack_starts_at_random_and_the_next_where_it_ended(model, batch):
    x, y = batch
    objective, again = acs.FGSMPGI(0.1, prior="batch", seed=3), acs.FGSMPGI(0.1, prior="batch", seed=3)
    start = ball("linf", 0.1).random(x, again.generator(CPU))
    end = ball("linf", 0.1).project(start + 0.1 * signs(model, start, y), x)
    x_adv = objective.perturb(model, x, y)
    torch.testing.assert_close(x_adv, end, rtol=0, atol=1e-12)
    torch.testing.assert_close(objective.views(x, x_adv)[0], start, rtol=0, atol=1e-12)
    other = x.flip(0).clone()
    x_adv = objective.perturb(model, other[:5], y[:5])  # the last batch of an epoch is smaller
    torch.testing.assert_close(
        objective.views(other[:5], x_adv)[0], (other + end - x).clamp(0, 1)[:5], rtol=0, atol=1e-12
    )
    objective.perturb(model, x, y)
    torch.testing.assert_close(objective.views(x, x)[0][5:], end[5:], rtol=0, atol=1e-12)  # places not used since


@pytest.mark.parametrize("prior", ["epoch", "momentum"])
def test_priors_follow_the_sample_and_not_its_place(model, batch, prior):
    x, y = batch
    objective = acs.FGSMPGI(0.1, prior=prior, momentum=0.3, seed=3)
    index = torch.tensor([5, 0, 11, 3, 2, 7, 1, 9])
    x_adv = objective.perturb(model, x, y, index=index)
    start = objective.views(x, x_adv)[0]
    back = torch.arange(7, -1, -1)
    objective.perturb(model, x[back], y[back])  # a batch without numbers has a memory of its own
    second = objective.perturb(model, x[back], y[back], index=index[back])
    found = objective.views(x[back], second)[0][back]
    torch.testing.assert_close(found, x_adv, rtol=0, atol=1e-12)  # both rules step along the first gradient's sign
    direction = signs(model, start, y) * 0.3 + signs(model, x_adv, y)
    step = direction.sign() if prior == "momentum" else signs(model, x_adv, y)
    expected = ball("linf", 0.1).project(x_adv + 0.1 * step, x)
    objective.perturb(model, x, y, index=index)
    torch.testing.assert_close(objective.views(x, x)[0], expected, rtol=0, atol=1e-12)


def test_prior_guided_loss_is_the_published_one(model, batch):
    x, y = batch
    objective = acs.FGSMPGI(0.1, lam=4.0, seed=3)
    x_adv = objective.perturb(model, x, y)
    start = objective.views(x, x_adv)[0]
    apart = (model(x_adv) - model(start)).square().sum(1) / 5
    expected = F.cross_entropy(model(x_adv), y, reduction="none") + 4.0 * apart
    torch.testing.assert_close(objective.per_sample_loss(model, x.clone(), x_adv, y), expected)
    with pytest.raises(ValueError, match="x must be the batch that perturb was last called with"):
        objective.per_sample_loss(model, x + 0.01, x_adv, y)
    with pytest.raises(ValueError, match="x must be the batch that perturb was last called with"):
        acs.FGSMPGI(0.1).per_sample_loss(model, x, x_adv, y)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (torch.arange(7), r"index must be int64 of shape \[8\]; got torch.int64 of shape \[7\]"),
        (torch.rand(8), r"got torch.float32 of shape \[8\]"),
        (torch.arange(8) - 1, "index must be sample numbers, 0 or more; got -1"),
    ],
)
def test_bad_sample_numbers_are_named(model, batch, index, message):
    with pytest.raises(ValueError, match=message):
        acs.FGSMPGI(0.1).perturb(model, *batch, index=index)


def test_images_of_another_size_are_named_or_begin_anew():
    flat = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16, 3))
    objective, y = acs.FGSMPGI(0.1), torch.zeros(2, dtype=torch.int64)
    for size in (8, 9):
        objective.perturb(flat, torch.rand(2, 1, size, size), y)
    objective.perturb(flat, torch.rand(2, 1, 8, 8), y, index=torch.arange(2))
    with pytest.raises(
        ValueError, match=r"index must number images of one shape: \[1, 8, 8\] is remembered, \[1, 9, 9\]"
    ):
        objective.perturb(flat, torch.rand(2, 1, 9, 9), y, index=torch.arange(2))


@pytest.mark.parametrize(("norm", "steps"), [("linf", 1), ("linf", 3), ("l2", 2)])
def test_transferred_attacks_go_on_where_the_sample_was_left(model, batch, norm, steps):
    """The same as one longer attack, cut into visits, in whatever order the samples come."""
    x, y = batch
    objective = acs.ATTA(0.1, 0.03, steps, norm, seed=3)
    whole = acs.PGD(0.1, 0.03, 3 * steps, norm, seed=3)
    index = torch.tensor([5, 0, 11, 3, 2, 7, 1, 9])
    expected = whole.perturb(model, x, y)
    objective.perturb(model, x, y, index=index)
    back = torch.arange(7, -1, -1)
    objective.perturb(model, x[back], y[back], index=index[back])
    with torch.no_grad():
        found = objective.perturb(model, x, y, index=index)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    fresh = objective.perturb(model, x, y)  # without numbers: from a random point, and nothing is remembered
    assert not torch.equal(fresh, found)
    again = acs.PGD(0.1, 0.03, steps, norm).perturb_from(model, x, y, found - x)
    torch.testing.assert_close(objective.perturb(model, x, y, index=index), again, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_resting_attacks_stay_where_the_sample_was_left(model, batch, norm):
    x, y = batch
    objective = acs.ATTA(0.1, 0.03, norm=norm, seed=3)
    resting, index = objective.resting(), torch.arange(len(x)) + 7
    left = objective.perturb(model, x[:5], y[:5], index=index[:5])
    found = resting.perturb(model, x, y, index=index)
    torch.testing.assert_close(found[:5], left)
    assert not torch.equal(found[5:], x[5:])  # a first visit is an attack
    assert torch.equal(resting.perturb(model, x, y, index=index), found)
    moved = objective.perturb(model, x, y, index=index)
    assert not torch.equal(moved, found)
    torch.testing.assert_close(resting.perturb(model, x, y, index=index), moved)
    with pytest.raises(ValueError, match=r"index must be int64 of shape \[3\]"):
        resting.perturb(model, x[:3], y[:3], index=index)


def test_transferred_attacks_resume_from_their_state(model, batch):
    x, y = batch
    first, second = acs.ATTA(0.1, seed=3), acs.ATTA(0.1, seed=4)
    index = torch.arange(8)
    first.perturb(model, x, y, index=index)
    second.load_state_dict(first.state_dict())
    expected = first.perturb(model, x, y, index=index)
    assert torch.equal(second.perturb(model, x, y, index=index), expected)
    assert torch.equal(second.perturb(model, x, y), first.perturb(model, x, y))
    with pytest.raises(ValueError, match=r"index must be int64 of shape \[8\]"):
        first.perturb(model, x, y, index=index[:7])
    assert first.alpha == 0.1
    assert acs.ATTA(0.1, steps=4).alpha == pytest.approx(0.025)
