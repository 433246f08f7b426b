"""The weighted mean of a batch's losses."""

import pytest
import torch

import acs_fast as acs


def test_weighted_mean():
    losses, weights = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])
    assert float(acs.weighted_mean(losses, weights)) == 3.5
    assert float(acs.weighted_mean(losses, weights, normalize="batch")) == 1.75
    assert float(acs.weighted_mean(losses, weights, denominator=7)) == 1.0
    with pytest.raises(ValueError, match="normalize must be one of"):
        acs.weighted_mean(losses, weights, normalize="sum")
    with pytest.raises(ValueError, match=r"losses and weights must both have shape \[B\]"):
        acs.weighted_mean(losses, weights[:1])


@pytest.mark.parametrize("dtype", [torch.int64, torch.float8_e4m3fn])
def test_losses_that_lose_the_weights_are_refused(dtype):
    with pytest.raises(TypeError, match="losses must have a floating dtype"):
        acs.weighted_mean(torch.ones(2).to(dtype), torch.tensor([0.5, 1.5]))
