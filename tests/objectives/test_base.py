"""Composition of attacks and losses, given starts, and closed forms that no longer hold."""

import pytest
import torch
from torch import nn

import acs_fast as acs
from acs_fast.objectives.trades import TradesLoss
from tests.helpers import images

STARTED = {
    "pgd": lambda: acs.PGD(0.1, 0.03, 3, seed=3),
    "pgd-l2": lambda: acs.PGD(0.5, 0.15, 3, norm="l2", seed=3),
    "trades": lambda: acs.TRADES(6.0, 0.1, 0.03, 3, seed=3),
    "nfgsm": lambda: acs.NFGSM(0.1, seed=3),
    "fgsm-pgi": lambda: acs.FGSMPGI(0.1, seed=3),
    "perceptual": lambda: acs.PerceptualAT(0.5, 3, seed=3),
}


@pytest.mark.parametrize("name", STARTED)
def test_rows_of_nan_begin_as_usual_and_the_others_where_they_are_told(model, name):
    x, y = images(8)
    x = x.double()
    usual, told = STARTED[name](), STARTED[name]()
    start = torch.full_like(x, torch.nan)
    expected = usual.perturb(model, x, y)
    assert torch.equal(told.perturb(model, x, y, start=start), expected)
    start[:4] = (x[:4] + 0.02).clamp(0, 1)
    mixed = STARTED[name]().perturb(model, x, y, start=start)
    torch.testing.assert_close(mixed[4:], expected[4:], rtol=0, atol=1e-12)
    assert not torch.equal(mixed[:4], expected[:4])
    torch.testing.assert_close(mixed[:4], STARTED[name]().perturb(model, x, y, start=(x + 0.02).clamp(0, 1))[:4])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_starts_are_projected_to_the_ball(model, norm):
    x, y = images(8)
    x = x.double()
    x_adv = acs.PGD(0.1, 0.0, 1, norm).perturb(model, x, y, start=torch.ones_like(x))
    size = torch.linalg.vector_norm((x_adv - x).flatten(1), float("inf") if norm == "linf" else 2, dim=1)
    torch.testing.assert_close(size, torch.full_like(size, 0.1), rtol=0, atol=1e-9)


def test_any_attack_goes_with_any_loss(model):
    x, y = images(8)
    x = x.double()
    objective = acs.Objective(acs.PGD(0.1, 0.03, 3, seed=3).attack, TradesLoss(6.0))
    assert torch.equal(objective.perturb(model, x, y), acs.PGD(0.1, 0.03, 3, seed=3).perturb(model, x, y))
    found = objective.per_sample_loss(model, x, x + 0.1, y)
    torch.testing.assert_close(found, acs.TRADES(6.0, 0.1, 0.03, 3).per_sample_loss(model, x, x + 0.1, y))
    assert objective.closed_form
    assert repr(objective).startswith("Objective(eps=0.1, norm='linf', alpha=0.03")


class Doubled(TradesLoss):
    def value(self, logits, y):
        return 2.0 * super().value(logits, y)


class Swapped(TradesLoss):
    def views(self, x, x_adv):
        return x_adv, x


class Halved(acs.CrossEntropy, closed_form=True):
    """Changes the value and the closed form together."""

    def value(self, logits, y):
        return 0.5 * super().value(logits, y)

    def residuals(self, logits, y):
        return 0.5 * super().residuals(logits, y)


class Tripling:
    def value(self, logits, y):
        return 3.0 * super().value(logits, y)


class Mixed(Tripling, acs.CrossEntropy):
    pass


class Same(acs.CrossEntropy):
    pass


class Kept(acs.CrossEntropy, closed_form=True):
    pass


class Inherited(Doubled):
    pass


class Regained(Doubled, closed_form=True):
    """Has a closed form again, for the value that it inherits."""

    def residuals(self, logits, y):
        return 2.0 * TradesLoss.residuals(self, logits, y)


class Quartered(Halved):
    """Changes the value below a closed form of one's own."""

    def value(self, logits, y):
        return 0.5 * super().value(logits, y)


DECLARED = [acs.CrossEntropy(), TradesLoss(6.0), Halved(), Kept(), Regained(6.0)]
BY_AUTOGRAD = [Doubled(6.0), Swapped(6.0), Mixed(), Same(), Inherited(6.0), Quartered()]


@pytest.mark.parametrize("loss", DECLARED + BY_AUTOGRAD, ids=lambda v: type(v).__name__)
def test_a_closed_form_holds_for_the_class_that_declares_it(loss):
    torch.manual_seed(1)
    logits = tuple(torch.randn(7, 5, dtype=torch.float64) for _ in loss.views(0, 0))
    y = torch.randint(5, (7,))
    leaves = tuple(z.clone().requires_grad_() for z in logits)
    expected = torch.stack(torch.autograd.grad(loss.value(leaves, y).sum(), leaves), 1)
    torch.testing.assert_close(loss.residuals(logits, y), expected)
    assert (type(loss).residuals is acs.Loss.residuals) == (loss in BY_AUTOGRAD)


def test_a_closed_form_must_be_declared():
    with pytest.raises(TypeError, match=r"Own.residuals must be declared: class Own\(..., closed_form=True\)"):
        type("Own", (acs.CrossEntropy,), {"residuals": lambda self, logits, y: logits[0]})


def test_an_overridden_loss_has_no_closed_form():
    class Tenfold(acs.PGD):
        def per_sample_loss(self, model, x, x_adv, y):
            return 10.0 * super().per_sample_loss(model, x, x_adv, y)

    class Louder:
        def per_sample_loss(self, model, x, x_adv, y):
            return 2.0 * super().per_sample_loss(model, x, x_adv, y)

    class Mixed(Louder, acs.PGD):
        pass

    assert acs.PGD(0.1, 0.1, 1).closed_form
    assert not Tenfold(0.1, 0.1, 1).closed_form
    assert not Mixed(0.1, 0.1, 1).closed_form
    assert not acs.GradAlignFGSM(0.1).closed_form
    assert not acs.WithAttack(lambda x, y: x, Tenfold(0.1, 0.1, 1)).closed_form
    assert acs.WithAttack(lambda x, y: x, acs.TRADES(6.0, 0.1, 0.1, 1)).closed_form


def test_scaled_attacks_share_random_numbers_and_memory(model):
    x, y = images(8)
    x = x.double()
    whole, small = acs.PGD(0.1, 0.03, 3, seed=3), acs.PGD(0.05, 0.015, 3, seed=3)
    half = whole.scaled(0.5)
    assert torch.equal(half.perturb(model, x, y), small.perturb(model, x, y))
    assert torch.equal(whole.attack.generator(x.device).get_state(), small.attack.generator(x.device).get_state())
    atta, index = acs.ATTA(0.1, seed=3), torch.arange(8)
    left = atta.scaled(0.5).perturb(model, x, y, index=index)
    assert torch.equal(atta.attack.remembered(x, index), x + (left - x))
    with pytest.raises(ValueError, match=r"factor must be finite and in \[0, 1\]; got 2"):
        whole.scaled(2)


def test_bases_say_what_is_missing(model):
    x, y = images(2)
    objective = acs.Objective(acs.Attack(), acs.Loss())
    with pytest.raises(NotImplementedError, match="Attack must define __call__"):
        objective.perturb(model, x, y)
    with pytest.raises(NotImplementedError, match="Loss must define value"):
        objective.per_sample_loss(nn.Flatten(), x, x, torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("name", ["attack", "loss_from_logits", "views", "residuals"])
def test_methods_that_would_be_ignored_are_refused(name):
    with pytest.raises(TypeError, match=f"Own.{name} would be ignored"):
        type("Own", (acs.PGD,), {name: lambda self, *args: args[0]})
