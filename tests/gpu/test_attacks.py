"""Attacks on a device: the host never waits for it between the steps."""

import pytest
import torch

import acs_fast as acs
from tests.gpu.requirements import need_gpu
from tests.helpers import ConvNet, images

OBJECTIVES = {
    "pgd": lambda: acs.PGD(0.1, 0.03, 3, seed=0),
    "pgd-l2": lambda: acs.PGD(0.5, 0.2, 3, norm="l2", seed=0),
    "trades": lambda: acs.TRADES(6.0, 0.1, 0.03, 3, seed=0),
    "nfgsm": lambda: acs.NFGSM(0.1, seed=0),
    "fgsm-gradalign": lambda: acs.GradAlignFGSM(0.1, seed=0),
    "fgsm-pgi": lambda: acs.FGSMPGI(0.1, seed=0),
    "atta": lambda: acs.ATTA(0.1, seed=0),
    "perceptual": lambda: acs.PerceptualAT(0.5, 3, seed=0),
}


@pytest.fixture(autouse=True)
def _needs_cuda():
    need_gpu("cuda")


@pytest.fixture
def case():
    torch.manual_seed(0)
    x, y = images(16)
    return ConvNet().cuda().eval(), x.cuda(), y.cuda()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_host_does_not_wait(case, name):
    model, x, y = case
    objective, index = OBJECTIVES[name](), torch.arange(16)
    for _ in range(2):  # the first batch is checked at once, and memories get their room
        objective.per_sample_loss(model, x, objective.perturb(model, x, y, index=index), y).mean().backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        objective.per_sample_loss(model, x, objective.perturb(model, x, y, index=index), y).mean().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_bad_pixels_are_named_a_few_batches_late(case):
    model, x, y = case
    objective = acs.FGSM(0.1)
    with pytest.raises(ValueError, match=r"got values in \[-"):
        objective.perturb(model, 2 * x - 1, y)
    objective.perturb(model, x, y)
    objective.perturb(model, x + 1, y)
    torch.cuda.synchronize()
    with pytest.raises(ValueError, match="in this batch or one of the last"):
        objective.perturb(model, x, y)
