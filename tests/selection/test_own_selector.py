"""A user's own selector says no more than it must, and is checked."""

import pytest
import torch

import acs_fast as acs
from tests.loops import CountingPGD, N, build, sgd, train


class Heaviest:
    """A selector of a user's own, that says no more than it must."""

    needs_gradients, lasts = True, "period"

    def select(self, n, budget, gradients, labels, seed):
        chosen = gradients.squared_norms().topk(budget).indices
        return acs.Coreset(chosen, torch.ones(len(chosen)), torch.zeros(len(chosen)))


def test_own_selector_needs_to_say_no_more_than_it_must():
    coreset = build(Heaviest(), epochs=10, period=3, warm_start=0.4)
    train(coreset, range(10), sgd(coreset))
    assert [h["epoch"] for h in coreset.history] == [4, 7]
    assert coreset.history[0]["seconds"]["total"] > 0
    assert coreset.history[0]["relative_gradient_error"] > 0
    assert (coreset.current.stats["filled"], coreset.current.stats["backend"]) == (0, "none")


def test_a_selection_can_last_for_the_whole_run():
    class Once(Heaviest):
        lasts = "run"

    objective = CountingPGD(0.1, 0.05, 1, seed=1)
    coreset = build(Once(), objective)
    for epoch in coreset.epochs:
        coreset.step(epoch)
    assert [h["epoch"] for h in coreset.history] == [4]
    assert objective.attacked == N


def test_own_selector_is_checked():
    class Twice(Heaviest):
        def select(self, n, budget, gradients, labels, seed):
            return acs.Coreset(torch.tensor([3, 3]), torch.ones(2), torch.zeros(2))

    with pytest.raises(RuntimeError, match="repeated indices"):
        build(Twice()).step(4)
