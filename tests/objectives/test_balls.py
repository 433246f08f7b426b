"""Random points of a ball."""

import pytest
import torch

from acs_fast.objectives.balls import ball


@pytest.mark.parametrize("dims", [1, 2, 64])
def test_random_points_fill_the_l2_ball_uniformly(dims):
    x = torch.full((4000, dims), 0.5)
    r = (ball("l2", 0.3).random(x, torch.Generator().manual_seed(0)) - x).norm(dim=1) / 0.3
    assert float(r.max()) <= 1.0 + 1e-5
    # P(radius <= t) = t^dims: the transformed radii are uniform
    assert abs(float((r**dims).mean()) - 0.5) < 0.02
