"""The table of experiments: every variant can run, on every data set."""

import pytest

from benchmarks.experiments.plan import Plan
from benchmarks.experiments.table import EXPERIMENTS
from tests.benchmarks.experiments.tiny import result


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_variant_of_the_table_can_run(name):
    plan = Plan(EXPERIMENTS[name], 1, {"data": "digits"})
    for job in plan.jobs:  # as if every run before had finished in a second
        if plan.ready() is job:
            job.record.state, job.record.result = "done", result(0.5, 1.0)
    assert [(j.variant.name, j.record.reason) for j in plan.jobs if j.record.state != "done"] == []


def test_methods_are_interleaved_and_names_unique():
    for experiment in EXPERIMENTS.values():
        plan = Plan(experiment, 2)
        count = len(experiment.variants)
        first = experiment.first_seed
        assert [j.record.seed for j in plan.jobs] == [first] * count + [first + 1] * count
        assert len({v.name for v in experiment.variants}) == count
        labels = {v.label for v in experiment.variants}
        assert {experiment.candidate, *experiment.controls} - {""} <= labels


def test_digits_train_on_the_whole_published_schedule():
    experiment = EXPERIMENTS["E1"]
    digits, clothes = experiment.on("digits").base, experiment.on("fashion-mnist").base
    assert (digits["epochs"], digits["period"]) == (120, 20)
    assert digits["epochs"] / digits["period"] == clothes["epochs"] / clothes["period"]
    default = {data: EXPERIMENTS["E7"].on(data).variants[1].overrides["epochs"] for data in ("digits", "fashion-mnist")}
    assert default["digits"] / default["fashion-mnist"] == 120 / 30  # of the same length relative to full training
