"""Last-layer gradients against vmap(grad) of the whole loss, in float64, for every objective and for users' own."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

import acs_fast as acs
from acs_fast.objectives.balls import ball
from tests.helpers import ConvNet, images

OBJECTIVES = {
    "vanilla": acs.Vanilla,
    "pgd": lambda: acs.PGD(0.1, 0.03, 3, seed=3),
    "pgd-l2": lambda: acs.PGD(0.5, 0.2, 3, norm="l2", seed=3),
    "fgsm": lambda: acs.FGSM(0.1, seed=3),
    "nfgsm": lambda: acs.NFGSM(0.1, seed=3),
    "fgsm-pgi": lambda: acs.FGSMPGI(0.1, seed=3),
    "atta": lambda: acs.ATTA(0.1, seed=3),
    "trades": lambda: acs.TRADES(6.0, 0.1, 0.03, 3, seed=3),
    "perceptual": lambda: acs.PerceptualAT(0.5, 3, seed=3),
}


def dense(found):
    """Gradients by parameter as rows: the weight's row-major, then the bias's."""
    return torch.cat([found[name].flatten(1) for name in ("head.weight", "head.bias") if name in found], 1)


def head_of(model):
    return {name: p.detach() for name, p in model.named_parameters() if name.startswith("head.")}


def dense_reference(model, objective, x, x_adv, y):
    """Per-sample gradients of the head by automatic differentiation, in float64."""

    def loss(parameters, views, label):
        logits = tuple(functional_call(model, parameters, (v[None],)) for v in views)
        return objective.loss.value(logits, label[None])[0]

    return dense(vmap(grad(loss), (None, 0, 0))(head_of(model), objective.loss.views(x, x_adv), y))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_matches_vmap_grad(name):
    torch.manual_seed(0)
    model = ConvNet().double()
    x, y = images(11)
    x = x.double()
    objective = OBJECTIVES[name]()
    batches = [(x[:4], y[:4]), (x[4:], y[4:])]
    g = acs.last_layer_gradients(model, batches, objective)
    again = OBJECTIVES[name]()
    model.eval()
    expected = [dense_reference(model, again, a, again.perturb(model, a, b), b) for a, b in batches]
    torch.testing.assert_close(g.dense(), torch.cat(expected), rtol=1e-9, atol=1e-9)
    assert g.dtype == torch.float64


def aligned_reference(model, objective, x, x_adv, noisy, y):
    """The gradient-alignment loss in its textbook form, differentiated twice by torch.func."""

    def loss(parameters, x, x_adv, noisy, label):
        def cross_entropy(v):
            return nn.functional.cross_entropy(functional_call(model, parameters, (v[None],)), label[None])

        a, b = (grad(cross_entropy)(v).flatten() for v in (x, noisy))
        return cross_entropy(x_adv) + objective.lam * (1.0 - torch.dot(a, b) / (a.norm() * b.norm()))

    return dense(vmap(grad(loss), (None, 0, 0, 0, 0))(head_of(model), x, x_adv, noisy, y))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sharpness", [1.0, 30.0])
@pytest.mark.parametrize("lam", [0.2, 50.0])
def test_gradient_alignment_matches_vmap_grad_of_its_whole_loss(bias, sharpness, lam):
    torch.manual_seed(0)
    model = ConvNet().double()
    model.head = nn.Linear(8, 5, bias=bias).double()
    model.head.weight.data *= sharpness
    x, y = images(11)
    x = x.double()
    batches = [(x[:4], y[:4]), (x[4:], y[4:])]
    g = acs.last_layer_gradients(model, batches, acs.GradAlignFGSM(0.1, lam=lam, seed=3))
    again = acs.GradAlignFGSM(0.1, lam=lam, seed=3)
    model.eval()
    expected = []
    for a, b in batches:
        noisy = ball("linf", 0.1).random(a, again.attack.generator(torch.device("cpu")))
        expected.append(aligned_reference(model, again, a, again.perturb(model, a, b), noisy, b))
    expected = torch.cat(expected)
    plain = acs.last_layer_gradients(model, batches, acs.GradAlignFGSM(0.1, lam=0.0, seed=3)).dense()
    assert float((expected - plain).norm()) > 1e-3 * float(plain.norm())  # the penalty is part of what is compared
    torch.testing.assert_close(g.dense(), expected, rtol=1e-8, atol=1e-9)
    assert g.residuals.shape == (11, 5, 5)


def test_gradient_alignment_of_certain_samples_is_their_cross_entropy():
    torch.manual_seed(0)
    model = ConvNet().double()
    model.head.bias.data[2] = 1e4
    x, y = images(5)
    x, y = x.double(), torch.tensor([2, 2, 0, 1, 2])
    g = acs.last_layer_gradients(model, [(x, y)], acs.GradAlignFGSM(0.1, lam=1.0, seed=3))
    assert (g.dense()[y == 2] == 0).all()
    assert torch.isfinite(g.dense()).all()
    assert (g.squared_norms()[y != 2] > 0).all()


class SlopePenalty:
    """A user's loss with a penalty on two input gradients that come out of the same pass."""

    def perturb(self, model, x, y):
        return x

    def per_sample_loss(self, model, x, x_adv, y):
        x = x.detach().requires_grad_()
        z = model(x)
        slopes = [torch.autograd.grad(z[:, k].sum(), x, create_graph=True)[0] for k in (0, 3)]
        return nn.functional.cross_entropy(z, y, reduction="none") + sum(s.square().flatten(1).sum(1) for s in slopes)


def test_users_penalty_on_input_gradients_is_exact():
    torch.manual_seed(0)
    model = ConvNet().double().eval()
    x, y = images(6)
    x = x.double()

    def loss(parameters, x, label):
        def logit(v, k):
            return functional_call(model, parameters, (v[None],))[0, k]

        penalty = sum(grad(logit)(x, k).square().sum() for k in (0, 3))
        return nn.functional.cross_entropy(functional_call(model, parameters, (x[None],)), label[None]) + penalty

    expected = dense(vmap(grad(loss), (None, 0, 0))(head_of(model), x, y))
    g = acs.last_layer_gradients(model, [(x, y)], SlopePenalty())
    torch.testing.assert_close(g.dense(), expected, rtol=1e-9, atol=1e-10)
    assert g.residuals.shape == (6, 3, 5)


class Margin:
    """A user's objective: no base class, two passes, a loss of its own."""

    def perturb(self, model, x, y):
        return (x + 0.05).clamp(0, 1)

    def per_sample_loss(self, model, x, x_adv, y):
        clean, adversarial = model(x), model(x_adv)
        return (clean - adversarial).square().sum(1) - adversarial.gather(1, y[:, None])[:, 0]


class MarginLoss(acs.Loss):
    """The same loss as a part to compose."""

    def views(self, x, x_adv):
        return x, x_adv

    def value(self, logits, y):
        clean, adversarial = logits
        return (clean - adversarial).square().sum(1) - adversarial.gather(1, y[:, None])[:, 0]


def test_user_objective_through_autograd_at_the_logits():
    torch.manual_seed(0)
    model = ConvNet().double()
    x, y = images(6)
    x = x.double()
    g = acs.last_layer_gradients(model, [(x, y)], Margin())
    model.eval()
    x_adv = Margin().perturb(model, x, y)
    composed = acs.Objective(acs.Vanilla().attack, MarginLoss())
    expected = dense_reference(model, composed, x, x_adv, y)
    torch.testing.assert_close(g.dense(), expected, rtol=1e-9, atol=1e-9)
    assert g.residuals.shape == (6, 2, 5)
