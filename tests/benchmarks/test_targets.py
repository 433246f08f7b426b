"""Experiments on a budget of passes: pools with hidden kinds, controls, budgets, plans and their verdicts."""

from dataclasses import replace

import pytest
import torch

from acs_fast.training import RunConfig
from benchmarks.experiments import __main__ as command
from benchmarks.experiments import pools, report
from benchmarks.experiments import results as files
from benchmarks.experiments.budgeted import BudgetConfig
from benchmarks.experiments.plan import Plan
from benchmarks.experiments.results import Advantage, Record, Results, advantage, holm
from benchmarks.experiments.table import EXPERIMENTS
from benchmarks.experiments.targets import DIGITS, PLANNED, POOL
from benchmarks.experiments.verdicts import verdicts

TINY = {**POOL, **DIGITS, "limit": 200, "width": 2, "pairing": 1, "minority": 0.2, "test_limit": 60, "test_steps": 2,
        "passes": 4000, "data": "digits", "period": 2}  # fmt: skip


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


def test_images_that_earlier_plans_have_seen_can_be_left_out(tmp_path, one_thread):
    every, first, rest = (
        BudgetConfig(**{**TINY, "test_limit": limit, "test_from": start}).run("digits", tmp_path / f"{start}-{limit}")
        for start, limit in ((0, 60), (0, 20), (20, 40))
    )
    clean = [found["test"]["average"]["clean"] for found in (every, first, rest)]
    assert clean[0] == pytest.approx((20 * clean[1] + 40 * clean[2]) / 60)


def test_a_dirty_pool_begins_with_the_checked_images():
    pool = pools.draw("digits", 500, 100, 0, 0.5, 0, flipped=0.4, trusted=50)
    wrong = pool.train.labels != pool.train_groups
    assert not wrong[:50].any()
    assert torch.equal(pool.train_groups[:50].bincount(), torch.full((10,), 5))
    assert 0.3 < float(wrong[50:].float().mean()) < 0.5
    assert torch.equal(pool.test.labels, pool.test_groups)
    clean = pools.draw("digits", 500, 100, 0, 0.5, 0)
    assert torch.equal(pool.train_groups.sort().values, clean.train_groups.sort().values)


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


def made(**levels):
    """Results of a plan whose candidate is "ours": balanced accuracy of each seed by label."""
    runs = [
        Record(label, "", None, seed, "done", result={"test": {"average": {"balanced": level}}})
        for label, of_seeds in levels.items() for seed, level in enumerate(of_seeds)
    ]  # fmt: skip
    return Results(
        "E8", "t", "q", "digits", "2026-01-02", 4, 1.0, {}, "ours", [k for k in levels if k not in ("ours", "oracle")],
        "", {}, {}, {}, "c", 1, figure=["balanced", "average"], threshold=2.0, oracle="oracle", runs=runs,
    )  # fmt: skip


def test_a_plan_succeeds_only_over_every_control():
    ours, weak = [0.60, 0.61, 0.62, 0.63], [0.50, 0.52, 0.52, 0.54]
    good = verdicts(made(ours=ours, weak=weak, weaker=[0.4, 0.42, 0.41, 0.42], oracle=[0.65, 0.66, 0.66, 0.68]))
    assert [v.met for v in good] == [True] * 4
    assert "+9.5 over weak" in good[2].found
    level = verdicts(made(ours=ours, weak=weak, level=[0.61, 0.60, 0.63, 0.62]))
    assert [v.met for v in level] == [True, False, False]
    small = verdicts(made(ours=ours, near=[0.591, 0.60, 0.611, 0.62]))
    assert [v.met for v in small] == [True, False]  # beyond doubt, and below two points


def test_a_plan_may_ask_to_come_close():
    close = replace(made(ours=[0.600, 0.602, 0.598, 0.601], full=[0.603, 0.604, 0.602, 0.606]), threshold=-1.0)
    assert [v.met for v in verdicts(close)] == [True, True]
    assert "at most 1 point below full" in verdicts(close)[0].wanted
    unsure = replace(made(ours=[0.60, 0.60, 0.60, 0.60], full=[0.58, 0.62, 0.59, 0.63]), threshold=-1.0)
    assert [v.met for v in verdicts(unsure)] == [False, True]


def test_advantage_is_a_one_sided_paired_test():
    records = [
        [Record("a", "", None, s, "done", result={"v": v}) for s, v in enumerate(values)]
        for values in ([3.0, 4.0, 6.0], [2.0, 2.0, 3.0])
    ]
    found = advantage(*records, lambda result: result["v"])
    assert found == Advantage(
        2.0, pytest.approx(2.0 - 2.919986 / 3**0.5, abs=1e-5), pytest.approx(0.037090, abs=1e-5), 3
    )
    assert advantage(records[0][:1], records[1][:1], lambda result: result["v"]) is None


def test_holm_keeps_the_order_of_the_tests():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_plans_name_fresh_seeds_and_controls_that_exist():
    for plan in PLANNED:
        labels = {v.label for v in plan.variants}
        assert {plan.candidate, *plan.controls, plan.oracle} - {""} <= labels
        assert plan.first_seed >= 1000
        assert plan.threshold is not None
        for job in (jobs := Plan(plan, 1)).jobs:
            assert jobs.ready() is job, job.record.reason
            job.record.state = "done"


def test_the_command_line_runs_what_the_plan_measures():
    plan = EXPERIMENTS["E11d"]
    (candidate,) = (v for v in plan.variants if v.label == plan.candidate)
    measured = BudgetConfig(**{**plan.base, **candidate.overrides, "data": "fashion-mnist"})
    shipped = replace(RunConfig(), data="fashion-mnist", limit=measured.limit)
    same = (
        "objective", "eps_warm_up", "fraction", "is_selective", "batch_size", "learning_rate", "lr_schedule",
        "momentum", "weight_decay", "ema",
    )  # fmt: skip
    assert {name: getattr(shipped, name) for name in same} == {name: getattr(measured, name) for name in same}
    assert repr(shipped.build_selector()) == repr(measured.build_selector())
    passes = shipped.epochs * shipped.limit * measured.visit_passes["selective"]
    assert passes == pytest.approx(measured.passes, rel=0.1)
