"""From the same start, attacks end where those of torchattacks end."""

import pytest
import torch

import acs_fast as acs
from tests.helpers import ConvNet, images

torchattacks = pytest.importorskip("torchattacks")


@pytest.fixture(scope="module")
def case():
    torch.manual_seed(0)
    x, y = images(16)  # a power of two: their mean over the batch and our sum have gradients of the same bits
    return ConvNet().double().eval(), x.double(), y


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def started(objective, seed, skipped=None):
    """The objective's random numbers set to those that torch.manual_seed(seed) gives the other side.

    skipped: like what the other side draws first and overwrites.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    if skipped is not None:
        torch.empty_like(skipped).normal_(generator=generator)
    objective.load_state_dict({"cpu": generator.get_state()})
    return objective


def test_fgsm(case):
    model, x, y = case
    close(acs.PGD(0.1, 0.1, 1, random_start=False).perturb(model, x, y), torchattacks.FGSM(model, eps=0.1)(x, y))
    ours = started(acs.FGSM(0.1), 5, skipped=x).perturb(model, x, y)
    close(ours, torchattacks.FFGSM(model, eps=0.1, alpha=0.125)(x, y))


@pytest.mark.parametrize("random_start", [False, True])
def test_pgd_linf(case, random_start):
    model, x, y = case
    ours = started(acs.PGD(0.1, 0.03, 7, random_start=random_start), 5).perturb(model, x, y)
    close(ours, torchattacks.PGD(model, eps=0.1, alpha=0.03, steps=7, random_start=random_start)(x, y))


def test_pgd_l2(case):
    model, x, y = case
    ours = acs.PGD(0.5, 0.15, 7, norm="l2", random_start=False).perturb(model, x, y)
    close(ours, torchattacks.PGDL2(model, eps=0.5, alpha=0.15, steps=7, random_start=False, eps_for_division=0.0)(x, y))


def test_trades(case):
    model, x, y = case
    ours = started(acs.TRADES(6.0, 0.1, 0.03, 7), 5).perturb(model, x, y)
    close(ours, torchattacks.TPGD(model, eps=0.1, alpha=0.03, steps=7)(x, y))
