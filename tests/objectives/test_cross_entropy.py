"""Smoothed labels: losses by their definition, residuals by automatic differentiation."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import grad, vmap

import acs_fast as acs
from tests.helpers import ConvNet, images

SMOOTHED = {
    "vanilla": acs.Vanilla,
    "pgd": lambda **o: acs.PGD(0.1, 0.03, 2, seed=3, **o),
    "fgsm": lambda **o: acs.FGSM(0.1, seed=3, **o),
    "nfgsm": lambda **o: acs.NFGSM(0.1, seed=3, **o),
    "fgsm-gradalign": lambda **o: acs.GradAlignFGSM(0.1, seed=3, **o),
    "fgsm-pgi": lambda **o: acs.FGSMPGI(0.1, seed=3, **o),
    "atta": lambda **o: acs.ATTA(0.1, seed=3, **o),
    "trades": lambda **o: acs.TRADES(6.0, 0.1, 0.03, 2, seed=3, **o),
    "perceptual": lambda **o: acs.PerceptualAT(0.5, 2, seed=3, **o),
}
PASSES = {"trades": 2, "fgsm-pgi": 2}


@pytest.mark.parametrize("smoothing", [0.1, 1.0])
@pytest.mark.parametrize("name", SMOOTHED)
def test_residuals_are_gradients_of_the_smoothed_loss(name, smoothing):
    loss = SMOOTHED[name](label_smoothing=smoothing).loss
    torch.manual_seed(1)
    logits = tuple(3.0 * torch.randn(7, 5, dtype=torch.float64) for _ in range(PASSES.get(name, 1)))
    y = torch.randint(5, (7,))

    def one(sample, label):
        return loss.value(tuple(z[None] for z in sample), label[None])[0]

    expected = torch.stack(vmap(grad(one))(logits, y), 1)
    torch.testing.assert_close(loss.residuals(logits, y), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", SMOOTHED)
def test_smoothing_moves_the_loss_by_that_of_its_cross_entropy(name):
    """And neither the attack nor, without it, any bit."""
    torch.manual_seed(0)
    model, (x, y) = ConvNet().double().eval(), images(8)
    x = x.double()
    plain, zero, soft = SMOOTHED[name](), SMOOTHED[name](label_smoothing=0.0), SMOOTHED[name](label_smoothing=0.2)
    results = [o.perturb(model, x, y) for o in (plain, zero, soft)]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    losses = [o.per_sample_loss(model, x, v, y) for o, v in zip((plain, zero, soft), results, strict=True)]
    assert torch.equal(losses[0], losses[1])
    z = model(x if name == "trades" else results[0])
    moved = F.cross_entropy(z, y, reduction="none", label_smoothing=0.2) - F.cross_entropy(z, y, reduction="none")
    torch.testing.assert_close(losses[2] - losses[0], moved)
