"""Runs on a budget of passes, and a planned experiment of them from end to end."""

from dataclasses import replace

import pytest
import torch

from benchmarks.experiments import __main__ as command
from benchmarks.experiments import report
from benchmarks.experiments import results as files
from benchmarks.experiments.budgeted import BudgetConfig
from benchmarks.experiments.targets import DIGITS, PLANNED, POOL

TINY = {**POOL, **DIGITS, "limit": 200, "width": 2, "pairing": 1, "minority": 0.2, "test_limit": 60, "test_steps": 2,
        "passes": 4000, "data": "digits", "period": 2}  # fmt: skip


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_images_that_earlier_plans_have_seen_can_be_left_out(tmp_path, one_thread):
    every, first, rest = (
        BudgetConfig(**{**TINY, "test_limit": limit, "test_from": start}).run("digits", tmp_path / f"{start}-{limit}")
        for start, limit in ((0, 60), (0, 20), (20, 40))
    )
    clean = [found["test"]["average"]["clean"] for found in (every, first, rest)]
    assert clean[0] == pytest.approx((20 * clean[1] + 40 * clean[2]) / 60)


@pytest.mark.parametrize(
    ("settings", "visits"),
    [
        ({"method": "full"}, [100] * 8 + [88]),  # 8,000 passes, 9 for a sample
        ({}, [50] * 17 + [38]),
        ({"method": "full", "objective": "atta"}, [100] * 16),  # one attack step
        ({"arm": "clusters"}, [50] * 15 + [38]),  # 100 passes for the scores of every second epoch
    ],
)
def test_a_budget_is_used_up(settings, visits):
    config = BudgetConfig(**{**POOL, "limit": 100, "passes": 8000, **settings})
    found = config.visits(100)
    assert found[:-1] == visits[:-1]
    scoring = 100 * sum(e in config.schedule.due for e in range(len(found))) * config.scoring_passes
    spent = scoring + sum(found) * config.visit_passes["coreset"]
    assert 8000 - config.visit_passes["coreset"] * config.batch_size <= spent <= 8000


@pytest.mark.parametrize(
    "settings",
    [{"arm": "no"}, {"pairing": 3}, {"limit": None}, {"passes": 0}, {"seen": "labels"}, {"minority": 0.9}],
)
def test_settings_are_checked(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        BudgetConfig(**{**POOL, **settings})


def test_arms_of_a_seed_share_pool_and_weights_and_cost_the_same(tmp_path, one_thread):
    settings = {**TINY, "seed": 3}
    found = [
        BudgetConfig(**{**settings, **arm}).run("digits", tmp_path / str(i))
        for i, arm in enumerate(({"method": "full"}, {"arm": "clusters", "clusters": 10}, {"arm": "by-loss"}))
    ]
    for result in found:
        assert abs(result["passes"] - 4000) <= 32 * 9
        assert result["steps"] > 0
        assert result["seconds"]["cpu"] > 0.0
        test = result["test"]["average"]
        assert test["worst"] <= test["balanced"] <= 1.0
        assert len(test["each"]) == 10
    assert found[1]["times_selected"] > found[0]["times_selected"] == 0
    assert found[1]["effective_size"] == pytest.approx(100)


def test_a_reference_model_selects_once_for_all_arms(tmp_path, one_thread):
    settings = {**TINY, "pairing": 0, "fraction": 0.1, "period": 10**6, "reference_passes": 2000}
    for i, arm in enumerate(({"arm": "craig", "seen": "features"}, {"arm": "gradmatch"}, {"arm": "balanced-fixed"})):
        result = BudgetConfig(**{**settings, **arm}).run("digits", tmp_path / str(i))
        assert result["times_selected"] == 1
        assert abs(result["passes"] - 4000) <= 32 * 9  # the reference is not paid by the arm


def test_a_planned_experiment_from_end_to_end(tmp_path, monkeypatch, capsys):
    plan = replace(PLANNED[0], base={**TINY, "autoattack_seeds": 0}, digits={}, seeds=2)
    control, ours = (v for v in plan.variants if v.label in (plan.controls[0], plan.candidate))
    plan = replace(plan, variants=(replace(control, overrides={**control.overrides, "passes": 2000}), ours))
    monkeypatch.setitem(command.EXPERIMENTS, "E8", replace(plan, controls=plan.controls[:1]))
    folders = ["--output", str(tmp_path / "results"), "--scratch", str(tmp_path / "scratch")]
    assert command.main(["E8", "--data", "digits", "--jobs", "1", *folders]) == 0
    found = files.read(tmp_path / "results" / "E8-digits.json")
    assert found.complete
    assert {r.seed for r in found.runs} == {1000, 1001}
    (text,) = report.sections(tmp_path / "results", tmp_path)
    assert "balanced robust, %" in text
    assert "better than shorter schedule" in text
    assert "A budget of 4,000 counted passes" in text
    assert "seeds 1000 to 1001, the plan as committed in" in text
    capsys.readouterr()
