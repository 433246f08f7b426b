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
def draw(
    source: str, size: int, validation: int, pairing: int, minority: float, seed: int,
    flipped: float = 0.0, trusted: int = 0,
) -> Pool:  # fmt: skip
    """A pool of training images, validation images from outside it, and all test images.

    Args:
        source: see `acs_fast.training.read_data`; ten classes and a test set of its own.
        size: of the pool.
        validation: number of validation images, the same of each kind.
        pairing: a key of `PAIRINGS`; 0 for the ten classes as they are.
        minority: share of the rarer kind of each label. Which kind that is alternates with the seed.
        seed: of the draw.
        flipped: share of training images that get a wrong label, each other one as likely.
        trusted: so many images, the same of each kind, keep theirs; they come first in the pool.
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
    checked = [members[: trusted // KINDS] for members in train]
    rest = torch.cat([members[trusted // KINDS :] for members in train]).sort().values
    parts = [found.train.part(rows) for rows in (torch.cat([*checked, rest]), torch.cat(held_out).sort().values)]
    groups = [images.labels for images in (*parts, found.test)]
    labels = [label_of[own] for own in groups]
    labels[0] = _flip(labels[0], flipped, sum(map(len, checked)), int(label_of.max()) + 1, seed)
    labelled = [Images(images.x, y) for images, y in zip((*parts, found.test), labels, strict=True)]
    return Pool(found.name, *labelled, int(label_of.max()) + 1, found.eps, *groups)


def _flip(labels: Tensor, share: float, kept: int, classes: int, seed: int) -> Tensor:
    """Another label for a share of all but the first."""
    generator = derived_generator("flipped labels", seed)
    wrong = torch.rand(len(labels), generator=generator) < share
    wrong[:kept] = False
    shift = torch.randint(1, classes, labels.shape, generator=generator)
    return torch.where(wrong, (labels + shift) % classes, labels)
