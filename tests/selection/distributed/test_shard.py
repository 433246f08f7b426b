"""Shards of the samples."""

from __future__ import annotations

import pytest
import torch

import acs_fast as acs
from acs_fast.selection.distributed import Shard, facility_location
from tests.helpers import make_gradients


def test_shards_must_hold_every_sample_once() -> None:
    g = make_gradients(6)
    with pytest.raises(ValueError, match="every one of the 6 samples once"):
        facility_location(Shard(g, torch.tensor([0, 1, 2, 3, 4, 4])), 2)
    with pytest.raises(ValueError, match="one length"):
        facility_location(Shard(g, torch.arange(5)), 2)
    with pytest.raises(ValueError, match="labels must be given"):
        facility_location(Shard(g, torch.arange(6)), 2)
    broken = acs.LastLayerGradients(g.residuals.clone().index_fill_(0, torch.tensor([2]), torch.nan), g.features)
    with pytest.raises(ValueError, match="gradients"):
        facility_location(Shard(broken, torch.arange(6)), 2, per_class=False)
