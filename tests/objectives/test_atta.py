"""Attacks that begin where the sample's last one ended."""

import pytest
import torch

import acs_fast as acs


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
    again = acs.PGD(0.1, 0.03, steps, norm).perturb(model, x, y, start=found)
    torch.testing.assert_close(objective.perturb(model, x, y, index=index), again, rtol=0, atol=1e-12)


def test_first_visits_of_a_resting_attack_are_seeded(model, batch):
    x, y = batch
    resting = acs.ATTA(0.1).resting()
    found = []
    for _ in range(2):
        with resting.attack.seeded(3):
            found.append(resting.perturb(model, x, y))
    assert torch.equal(*found)


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
    with pytest.raises(ValueError, match=r"index must have shape \[3\]"):
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
    with pytest.raises(ValueError, match=r"index must have shape \[8\]"):
        first.perturb(model, x, y, index=index[:7])
    assert first.attack.alpha == 0.1
    assert acs.ATTA(0.1, steps=4).attack.alpha == pytest.approx(0.025)


def test_a_given_start_takes_the_place_of_the_memory(model, batch):
    x, y = batch
    objective, index = acs.ATTA(0.1, 0.03, seed=3), torch.arange(8)
    objective.perturb(model, x, y, index=index)
    start = x.clone()
    start[4:] = torch.nan
    expected = torch.cat(
        [acs.PGD(0.1, 0.03, 1, random_start=False).perturb(model, x[:4], y[:4]),
         acs.PGD(0.1, 0.03, 1).perturb(model, x[4:], y[4:], start=objective.attack.remembered(x, index)[4:])]
    )  # fmt: skip
    found = objective.perturb(model, x, y, start=start, index=index)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert torch.equal(objective.attack.remembered(x, index), x + (found - x))
