"""Problems: the quality of an answer by its definition."""

from __future__ import annotations

import pytest
import torch

import acs_fast as acs
from acs_fast.benchmark import OPPONENTS
from acs_fast.benchmark.problems import OpCase, build, quality
from tests.benchmark.tiny import TINY, Answer


def test_quality_is_that_of_the_definition():
    p = build(TINY, "cpu")
    picks = torch.tensor([0, 1, 7])  # of both groups
    found = quality(TINY, p, Answer(picks, torch.ones(3)))
    d = torch.cdist(p.g.dense().double(), p.g.dense().double())
    d[p.labels[:, None] != p.labels] = torch.inf
    assert found["objective"] == pytest.approx(float(d[:, picks].amin(1).sum()), rel=1e-5)
    assert found["gradient_error"] == pytest.approx(acs.gradient_error(p.g, picks, torch.ones(3)), rel=1e-6)


@pytest.mark.parametrize("task", ["cross_entropy", "trades"])
def test_residuals_are_judged_by_autograd(task):
    case = OpCase("r", "r", task, 40, 5, 3, 0)
    p = build(case, "cpu")
    solve = OPPONENTS["ours-reference"].solver(task)
    right = solve(p)
    assert quality(case, p, right)["max_error"] < 1e-5
    assert quality(case, p, right + 0.1)["max_error"] == pytest.approx(0.1, rel=1e-3)
