"""The attack pass: what it attacks with, and what its randomness depends on."""

import logging

import pytest
import torch
from torch.utils.data import TensorDataset

import acs_fast as acs
from tests.helpers import Augmented, ConvNet, images
from tests.loops import CountingPGD, N, build


def test_another_objective_makes_the_attacks_of_the_selection():
    training, selecting = CountingPGD(0.1, 0.05, 5, seed=1), CountingPGD(0.1, 0.1, 1, seed=1)
    build(objective=training, source=lambda model, data, _: acs.AttackPass(model, data, selecting)).step(4)
    assert (training.attacked, selecting.attacked) == (0, N)


def test_attacks_depend_on_the_seed_and_the_batch_only():
    """Not on how much of its own noise the objective has used, which stays as it was."""
    torch.manual_seed(7)
    model, (x, y) = ConvNet(), images(N)

    def taken(noise, used, seed):
        objective = acs.PGD(0.1, 0.05, 2, seed=noise)
        for _ in range(used):
            objective.perturb(model, x, y)
        before = objective.state_dict()
        gradients = acs.AttackPass(model, TensorDataset(x, y), objective, batch_size=16)(seed).gradients
        assert all(torch.equal(state, before[device]) for device, state in objective.state_dict().items())
        return gradients.dense()

    assert torch.equal(taken(0, 1, 0), taken(5, 3, 0))
    assert not torch.equal(taken(0, 1, 0), taken(0, 1, 1))


def test_a_batch_gives_the_same_factors_alone():
    torch.manual_seed(7)
    model, (x, y) = ConvNet(), images(32)
    attack = acs.PGD(0.1, 0.05, 2, seed=1)
    whole = acs.AttackPass(model, TensorDataset(x, y), attack, batch_size=16)(3).gradients
    first = acs.AttackPass(model, TensorDataset(x[:16], y[:16]), attack, batch_size=16)(3).gradients
    assert torch.equal(whole[:16].dense(), first.dense())


def test_augmentation_is_noticed_and_can_be_kept_out(caplog):
    data, fixed = Augmented(30), TensorDataset(*images(30, classes=3))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    with caplog.at_level(logging.WARNING, "acs_fast"):
        acs.AdversarialCoreset(model, data, acs.Vanilla(), epochs=2, warm_start=0.0)
    assert "random augmentation leaks into the selection" in caplog.text
    caplog.clear()
    plain = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    source = acs.AttackPass(plain, fixed, acs.Vanilla())
    coreset = acs.AdversarialCoreset(model, data, acs.Vanilla(), epochs=2, warm_start=0.0, gradients=source)
    assert len(coreset.step(0)) == 15
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [({"batch_size": 0}, "batch_size must be at least 1"), ({"num_workers": -1}, "num_workers must be at least 0")],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        acs.AttackPass(ConvNet(), TensorDataset(*images(4)), acs.Vanilla(), **options)
