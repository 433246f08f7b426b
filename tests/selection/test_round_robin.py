"""The round robin: everybody has a turn before anybody has another, also after a resumption."""

import pytest
import torch

import acs_fast as acs


def turns(selector, epochs, n=10, budget=4):
    return [selector.select(n, budget, None, None, seed).indices.tolist() for seed in epochs]


def test_everybody_has_a_turn_before_anybody_has_another():
    picks = [pick for part in turns(acs.RoundRobin(), range(5)) for pick in part]
    assert sorted(picks[:10]) == sorted(picks[10:]) == list(range(10))
    assert picks[:10] == picks[10:]


def test_the_first_seed_draws_the_order():
    first, again, other = (turns(acs.RoundRobin(), epochs) for epochs in ((3, 4, 5), (3, 9, 9), (7, 4, 5)))
    assert first == again != other


def test_samples_have_equal_weights_with_the_sum_of_all():
    coreset = acs.RoundRobin().select(10, 4, None, None, 0)
    assert coreset.weights.tolist() == [2.5] * 4


@pytest.mark.parametrize("build", [acs.RoundRobin, lambda: acs.PerBatch(acs.RoundRobin(), 2)])
def test_a_state_keeps_its_place(build):
    whole, begun, resumed = build(), build(), build()
    expected = turns(whole, range(6))
    assert turns(begun, range(3)) == expected[:3]
    resumed.load_state_dict(begun.state_dict())
    assert turns(resumed, range(3, 6)) == expected[3:]


def test_a_part_of_the_data_is_attacked_in_turn():
    x, y = torch.rand(20, 4), torch.arange(20) % 2
    model, attack = torch.nn.Linear(4, 2), acs.ATTA(0.1, seed=0)
    schedule = acs.Schedule.every(epochs=5, warm_start=0.2)
    data = torch.utils.data.TensorDataset(x, y)
    coreset = acs.AdversarialCoreset(model, data, attack, "round-robin", fraction=0.25, schedule=schedule)
    picks = torch.cat([coreset.step(epoch).indices for epoch in coreset.epochs[1:]])
    assert picks.sort().values.tolist() == list(range(20))
