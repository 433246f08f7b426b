"""A user's own selector says no more than it must, and is checked."""

import pytest
import torch

import acs_fast as acs
from tests.loops import build, sgd, train
from tests.selection.own import Heaviest


def test_own_selector_needs_to_say_no_more_than_it_must():
    coreset = build(Heaviest(), epochs=10, period=3, warm_start=0.4)
    train(coreset, range(10), sgd(coreset))
    assert [h["epoch"] for h in coreset.history] == [4, 7]
    assert coreset.history[0]["seconds"]["total"] > 0
    assert coreset.history[0]["relative_gradient_error"] > 0
    assert (coreset.current.stats["filled"], coreset.current.stats["backend"]) == (0, "none")


def test_own_selector_is_checked():
    class Twice(Heaviest):
        def select(self, n, budget, gradients, labels, seed):
            return acs.Coreset(torch.tensor([3, 3]), torch.ones(2), torch.zeros(2))

    with pytest.raises(RuntimeError, match="repeated indices"):
        build(Twice()).step(4)
