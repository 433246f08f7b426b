"""Attacks and objectives from elsewhere."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

import acs_fast as acs
from acs_fast.objectives import as_objective
from tests.helpers import ConvNet, images


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ConvNet().train()


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


def test_bad_results_of_callable_attacks_are_named(model):
    x, y = images(4)
    with pytest.raises(ValueError, match=r"attack must return images of shape \[4, 1, 8, 8\]; got \[1, 1, 8, 8\]"):
        acs.WithAttack(lambda x, y: x[:1]).perturb(model, x, y)
    with pytest.raises(ValueError, match=r"attack must return images of shape \[4, 1, 8, 8\]; got str"):
        acs.WithAttack(lambda x, y: "x").perturb(model, x, y)
    with pytest.raises(ValueError, match=r"attack must return pixels in \[0, 1\]"):
        acs.WithAttack(lambda x, y: x + 2).perturb(model, x, y)
    with pytest.raises(TypeError, match="start needs an attack of acs_fast"):
        acs.WithAttack(lambda x, y: x).perturb(model, x, y, start=x)
    with pytest.raises(TypeError, match="attack must be callable as attack"):
        acs.WithAttack(3)


def test_an_attack_that_normalises_by_itself_is_told(model, caplog):
    x, y = images(4)

    def attack(x, y):
        model(x if raw else (x - 0.5) / 0.25)
        return x

    raw = True
    acs.WithAttack(attack).perturb(model, x, y)
    assert not caplog.records
    raw, objective = False, acs.WithAttack(attack)
    for _ in range(2):
        objective.perturb(model, x, y)
    assert "make normalisation a part of the model" in caplog.text
    assert len(caplog.records) == 1
    assert not model._forward_pre_hooks


@dataclass
class Counting:
    """Says what it was given, and has a state."""

    given: int = 0

    def perturb(self, model, x, y, *, index=None):
        self.given += 0 if index is None else int(index.sum())
        return x - 2.0  # no pixel of ours is looked at

    def per_sample_loss(self, model, x, x_adv, y):
        return 3.0 * nn.functional.cross_entropy(model(x), y, reduction="none")

    def state_dict(self):
        return {"given": self.given}

    def load_state_dict(self, state):
        self.given = state["given"]


class Plain:
    def perturb(self, model, x, y):
        return x

    def per_sample_loss(self, model, x, x_adv, y):
        return nn.functional.cross_entropy(model(x_adv), y, reduction="none")


def test_foreign_objectives_are_called_as_they_are(model):
    x, y = images(4)
    inner = Counting()
    objective = as_objective(inner)
    assert torch.equal(objective.perturb(model, x, y, index=torch.arange(4)), x - 2.0)
    assert inner.given == 6
    torch.testing.assert_close(objective.per_sample_loss(model.eval(), x, x, y), inner.per_sample_loss(model, x, x, y))
    assert not objective.closed_form
    other = as_objective(Counting())
    other.load_state_dict(objective.state_dict())
    assert other.inner.given == 6
    assert repr(objective) == "Counting(given=6)"


def test_foreign_objectives_are_given_what_they_take(model):
    x, y = images(4)
    objective = as_objective(Plain())
    assert torch.equal(objective.perturb(model, x, y, index=torch.arange(4)), x)
    with pytest.raises(TypeError, match="start needs an objective whose perturb takes it; got Plain"):
        objective.perturb(model, x, y, start=x)
    with pytest.raises(TypeError, match="attack must have a radius to be scaled"):
        objective.scaled(0.5)
    assert objective.state_dict() == {}
    objective.load_state_dict({})
    assert repr(objective).endswith("test_foreign.Plain")  # no address: the same in every process


def test_what_stands_for_an_objective():
    objective = acs.PGD(0.1, 0.1, 1)
    assert as_objective(objective) is objective
    assert isinstance(as_objective(lambda x, y: x), acs.WithAttack)
    with pytest.raises(TypeError, match=r"objective must have perturb.*; got int"):
        as_objective(3)
