"""Training steps: every opponent takes the same step, from the same weights, within the same ball."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.step import ALPHA, EPS, OPPONENTS, QUICK, Trainer

TINY = {c.objective: replace(c, side=16, batch=8) for c in QUICK}
EAGER = {name: o for name, o in OPPONENTS.items() if not o.options["engine"].compile}


def trainer(objective: str, name: str) -> Trainer:
    if OPPONENTS[name].missing():
        pytest.skip(OPPONENTS[name].missing())
    return TINY[objective].prepare(OPPONENTS[name], "cpu")


@pytest.mark.parametrize("objective", TINY)
@pytest.mark.parametrize("name", EAGER)
def test_a_step_trains_and_the_attack_stays_in_its_ball(objective, name):
    work = trainer(objective, name)
    before = [p.detach().clone() for p in work.model.parameters()]
    work.run()
    assert all(not torch.equal(p, old) for p, old in zip(work.model.parameters(), before, strict=True))
    torch.manual_seed(0)
    delta = work.attack(work.model, work.x, work.y) - work.x
    assert work.judge(None)["gain"] > 0.0
    assert 0.5 * ALPHA < float(delta.abs().max()) <= EPS + 1e-6


@pytest.mark.parametrize("objective", TINY)
def test_opponents_start_from_the_same_model_and_batch(objective):
    first, *others = (trainer(objective, name) for name in EAGER if EAGER[name].kind != "peer")
    for other in others:
        assert torch.equal(first.x, other.x)
        assert torch.equal(first.y, other.y)
        assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), other.model.parameters(), strict=True))
