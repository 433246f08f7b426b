"""Pools of images drawn by a seed, with the hidden groups that their labels may hold."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from acs_fast._util.randomness import derived_generator
from acs_fast.training import Found, Images, Splits, read_data

KINDS = 10
# Two kinds under each of five labels. A kind resembles the kind of the other column in the row above (pairing 1) or two
# rows above (pairing 2): shirts beside T-shirts, coats beside pullovers, boots beside sneakers ...
PAIRINGS = {
    1: ((0, 4), (2, 9), (7, 3), (1, 8), (5, 6)),
    2: ((0, 9), (2, 3), (7, 8), (1, 6), (5, 4)),
}


@dataclass(frozen=True, eq=False)
class Pool(Splits):
    """Splits with the kind [N] of every image, which may hide below its label."""

    train_groups: Tensor
    validation_groups: Tensor
    test_groups: Tensor


@lru_cache(maxsize=1)
def _found(source: str) -> Found:
    return read_data(source)


@lru_cache(maxsize=1)
def draw(source: str, size: int, validation: int, pairing: int, minority: float, seed: int) -> Pool:
    """A pool of training images, validation images from outside it, and all test images.

    Args:
        source: see `acs_fast.training.read_data`; ten classes and a test set of its own.
        size: of the pool.
        validation: number of validation images, the same of each kind.
        pairing: a key of `PAIRINGS`; 0 for the ten classes as they are.
        minority: share of the rarer kind of each label. Which kind that is alternates with the seed.
        seed: of the draw.
    """
    found = _found(source)
    if not (isinstance(found.train, Images) and isinstance(found.test, Images)):
        raise ValueError(f"source must have training and test images in memory; got {source}")
    label_of, share = torch.arange(KINDS), torch.full((KINDS,), 1.0 / KINDS)
    for label, kinds in enumerate(PAIRINGS.get(pairing, ())):
        rare = kinds[(seed + 1) % 2]
        for kind in kinds:
            label_of[kind] = label
            share[kind] = 2.0 / KINDS * (minority if kind == rare else 1.0 - minority)
    order = torch.randperm(len(found.train), generator=derived_generator("pool", seed))
    train, held_out = [], []
    for kind in range(KINDS):
        members = order[found.train.labels[order] == kind]
        wanted = round(float(share[kind]) * size)
        train.append(members[:wanted])
        held_out.append(members[wanted:][: validation // KINDS])
    parts = [found.train.part(torch.cat(part).sort().values) for part in (train, held_out)]
    groups = [images.labels for images in (*parts, found.test)]
    labelled = [Images(images.x, label_of[images.y]) for images in (*parts, found.test)]
    return Pool(found.name, *labelled, int(label_of.max()) + 1, found.eps, *groups)
