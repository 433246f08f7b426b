"""Pools with hidden kinds and flipped labels."""

import pytest
import torch

from benchmarks.experiments import pools


@pytest.mark.parametrize("pairing", [1, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_pool_hides_a_rare_kind_under_each_label(pairing, seed):
    pool = pools.draw("digits", 500, 100, pairing, 0.1, seed)
    assert pool.classes == 5
    for label, kinds in enumerate(pools.PAIRINGS[pairing]):
        own = pool.train_groups[pool.train.labels == label]
        counts = {kind: int((own == kind).sum()) for kind in kinds}
        assert counts == {kinds[seed]: 90, kinds[1 - seed]: 10}
        assert set(own.tolist()) == set(kinds)
    assert torch.equal(pool.validation_groups.bincount(), torch.full((10,), 10))
    assert sorted(kind for pair in pools.PAIRINGS[pairing] for kind in pair) == list(range(10))


def test_pools_differ_by_seed_and_keep_validation_images_out():
    one, two = (pools.draw("digits", 300, 100, 0, 0.5, seed) for seed in (0, 1))
    assert one.classes == 10
    assert torch.equal(one.train.labels, one.train_groups)
    assert not torch.equal(one.train.x, two.train.x)
    seen = {image.numpy().tobytes() for image in one.train.x}
    assert sum(image.numpy().tobytes() in seen for image in one.validation.x) <= 1  # digits hold a few images twice


def test_a_dirty_pool_begins_with_the_checked_images():
    pool = pools.draw("digits", 500, 100, 0, 0.5, 0, flipped=0.4, trusted=50)
    wrong = pool.train.labels != pool.train_groups
    assert not wrong[:50].any()
    assert torch.equal(pool.train_groups[:50].bincount(), torch.full((10,), 5))
    assert 0.3 < float(wrong[50:].float().mean()) < 0.5
    assert torch.equal(pool.test.labels, pool.test_groups)
    clean = pools.draw("digits", 500, 100, 0, 0.5, 0)
    assert torch.equal(pool.train_groups.sort().values, clean.train_groups.sort().values)
