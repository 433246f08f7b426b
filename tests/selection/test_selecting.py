"""When selections are made."""

from tests.loops import CountingPGD, N, build
from tests.selection.own import Heaviest

TEN = {"epochs": 10, "period": 3, "warm_start": 0.4}


def test_a_selection_can_last_for_the_whole_run():
    class Once(Heaviest):
        lasts = "run"

    objective = CountingPGD(0.1, 0.05, 1, seed=1)
    coreset = build(Once(), objective)
    for epoch in coreset.epochs:
        coreset.step(epoch)
    assert [h["epoch"] for h in coreset.history] == [4]
    assert objective.attacked == N


def test_first_coreset_epoch_is_always_selected_for():
    """Also when the loop starts late, or in the middle of a period."""
    coreset = build(**TEN)
    assert coreset.step(5) is not None
    assert coreset.step(5) is None
    assert coreset.step(6) is None
    assert coreset.step(7) is not None
