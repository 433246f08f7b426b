"""The plans: fresh seeds, controls that exist, and the settings that are shipped."""

from dataclasses import replace

import pytest

from acs_fast.training import RunConfig
from benchmarks.experiments.budgeted import BudgetConfig
from benchmarks.experiments.plan import Plan
from benchmarks.experiments.table import EXPERIMENTS
from benchmarks.experiments.targets import PLANNED


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
