"""Crops and flips by definition."""

import torch
import torch.nn.functional as F

from acs_fast.training.augment import PAD, standard


def test_every_image_is_a_crop_of_its_own_padded_image():
    x = torch.rand(40, 3, 6, 5)
    state = torch.get_rng_state()
    y = standard(x, 3)
    assert torch.equal(state, torch.get_rng_state())
    assert y.shape == x.shape
    padded = F.pad(x, (PAD,) * 4)
    for before, after in zip(padded, y, strict=True):
        crops = before.unfold(1, 6, 1).unfold(2, 5, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
        both = torch.cat([crops, crops.flip(-1)])
        assert bool((both == after).flatten(1).all(1).any())


def test_depends_on_the_seed_alone_and_varies_within_a_batch():
    x = torch.rand(1, 1, 8, 8).expand(64, 1, 8, 8)
    assert torch.equal(standard(x, 0), standard(x, 0))
    assert not torch.equal(standard(x, 0), standard(x, 1))
    assert len({tuple(image.flatten().tolist()) for image in standard(x, 0)}) > 30
