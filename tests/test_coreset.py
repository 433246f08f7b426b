"""The coreset itself: its invariants, its statistics, its state."""

from __future__ import annotations

import io

import pytest
import torch

import acs_fast as acs


def coreset(indices=(4, 0, 2), weights=(1.0, 2.0, 3.0), gains=(3.0, 2.0, 1.0), **more) -> acs.Coreset:
    return acs.Coreset(torch.tensor(indices), torch.tensor(weights), torch.tensor(gains), **more)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: coreset().check(5, size=4), "3 samples instead of 4"),
        (lambda: coreset(gains=(1.0,)).check(5), "different lengths"),
        (lambda: coreset().check(4), r"outside \[0, 4\)"),
        (lambda: coreset((0, -1, 2)).check(5), r"outside \[0, 5\)"),
        (lambda: coreset((0, 0, 2)).check(5), "repeated"),
        (lambda: coreset(weights=(1.0, -2.0, 3.0)).check(5), "negative or non-finite"),
        (lambda: coreset(weights=(1.0, float("nan"), 3.0)).check(5), "negative or non-finite"),
        (lambda: coreset().check(5, weight_sum=7), "sum to 6.0 instead of 7"),
    ],
)
def test_a_broken_invariant_is_named(made, said):
    with pytest.raises(RuntimeError, match=said):
        made()


def test_a_sound_one_is_returned():
    sound = coreset()
    assert sound.check(5, 3, 6.0) is sound


def test_effective_size():
    assert coreset(weights=(2.0, 2.0, 2.0)).effective_size == pytest.approx(3)
    assert coreset(weights=(2.0, 0.0, 0.0)).effective_size == pytest.approx(1)
    assert coreset().effective_size == pytest.approx(36 / 14)
    assert coreset(weights=(0.0, 0.0, 0.0)).effective_size == 0


def test_state_loads_without_pickled_code():
    file = io.BytesIO()
    before = coreset(stats={"objective": 2.5}, batches=[torch.tensor([0, 2])])
    torch.save(before.state_dict(), file)
    file.seek(0)
    after = acs.Coreset.from_state(torch.load(file, weights_only=True))
    assert all(torch.equal(getattr(before, name), getattr(after, name)) for name in ("indices", "weights", "gains"))
    assert after.stats == before.stats
    assert after.batches is not None
    assert torch.equal(after.batches[0], torch.tensor([0, 2]))


def test_state_is_a_copy():
    made = coreset(stats={"seconds": {"total": 1.0}})
    made.state_dict()["stats"]["seconds"]["total"] = 2.0
    assert made.stats["seconds"]["total"] == 1.0
