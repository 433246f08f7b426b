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
