"""The average follows weights and batch-norm statistics."""

import pytest
import torch
from torch import nn

from acs_fast.training.average import AveragedModel


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 2))


def steps(model, average, n):
    for _ in range(n):
        model.train()(torch.rand(8, 1, 6, 6))
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1)
        average.update(model)


def test_weights_and_statistics_are_averaged_by_definition():
    model = network()
    average = AveragedModel(model, 0.5)
    expected = {k: v.clone().double() for k, v in model.state_dict().items()}
    for t in range(20):
        steps(model, average, 1)
        d = min(0.5, (1 + t) / (10 + t))
        for name, value in model.state_dict().items():
            expected[name] = d * expected[name] + (1 - d) * value
    own = average.module.state_dict()
    for name in ("0.weight", "1.running_mean", "1.running_var", "3.bias"):
        torch.testing.assert_close(own[name].double(), expected[name], rtol=1e-5, atol=1e-6)
        assert not torch.equal(own[name], model.state_dict()[name])
    assert int(own["1.num_batches_tracked"]) == 20
    assert not any(p.requires_grad for p in average.module.parameters())
    assert not average.module.training


def test_no_decay_is_the_model_itself():
    model = network()
    average = AveragedModel(model, 0.0)
    steps(model, average, 3)
    for name, value in model.state_dict().items():
        assert torch.equal(average.module.state_dict()[name], value)


def test_resumed_to_the_same_bits():
    runs = []
    for resumed in (False, True):
        model = network()
        average = AveragedModel(model, 0.9)
        steps(model, average, 3)
        if resumed:
            state = average.state_dict()
            average = AveragedModel(network(), 0.9)
            average.load_state_dict(state)
        torch.manual_seed(1)
        steps(model, average, 3)
        runs.append(average.module.state_dict())
    assert all(torch.equal(v, runs[1][k]) for k, v in runs[0].items())


def test_decay_is_checked():
    with pytest.raises(ValueError, match="decay must be finite and in"):
        AveragedModel(network(), 1.5)
