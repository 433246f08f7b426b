"""Single-step objectives: noise beyond the ball, and aligned gradients."""

import torch
import torch.nn.functional as F

import acs_fast as acs
from acs_fast.objectives.balls import ball
from acs_fast.objectives.fast import misalignment
from tests.helpers import gradient_signs

CPU = torch.device("cpu")


def test_noise_fgsm_is_a_step_from_a_noisy_image_without_projection(model, batch):
    x, y = batch
    objective, again = acs.NFGSM(0.1, k=1.5, seed=3), acs.NFGSM(0.1, k=1.5, seed=3)
    noise = torch.empty_like(x).uniform_(-0.15, 0.15, generator=again.attack.generator(CPU))
    noisy = (x + noise).clamp(0, 1)
    expected = (noisy + 0.1 * gradient_signs(model, noisy, y)).clamp(0, 1)
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
    torch.testing.assert_close(x_adv, (x + 0.1 * gradient_signs(model, x, y)).clamp(0, 1), rtol=0, atol=1e-15)
    noisy = ball("linf", 0.1).random(x, again.attack.generator(CPU))

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


def test_aligned_noise_shrinks_with_the_attack(model, batch):
    x, y = batch
    half = acs.GradAlignFGSM(0.1, seed=3).scaled(0.5)
    small = acs.GradAlignFGSM(0.05, seed=3)
    assert torch.equal(half.perturb(model, x, y), small.perturb(model, x, y))
    assert torch.equal(half.per_sample_loss(model, x, x, y), small.per_sample_loss(model, x, x, y))
