"""Plans: what is ready when, and lengths that follow what others cost."""

from dataclasses import replace

from benchmarks.experiments.plan import Plan
from tests.benchmarks.experiments.tiny import TINY, result


def test_same_seconds_follow_the_measured_cost():
    plan = Plan(replace(TINY, variants=(TINY.variants[0], TINY.variants[1], TINY.variants[3])), 1)
    full, craig, short = plan.jobs
    for job, seconds in ((full, 12.0), (craig, 5.0)):
        assert plan.ready() is job
        job.record.state, job.record.result = "done", result(0.5, seconds)
    assert plan.ready() is short
    assert short.config.epochs == round(6 * 5.0 / 12.0)


def test_a_failed_anchor_is_named():
    plan = Plan(replace(TINY, variants=(TINY.variants[0], TINY.variants[1], TINY.variants[3])), 1)
    plan.ready().record.state = "failed"
    plan.ready().record.state = "running"
    assert plan.ready() is None
    assert plan.jobs[2].record.state == "not run"
    assert "seconds of full" in plan.jobs[2].record.reason
