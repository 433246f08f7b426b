"""Runs an experiment on worker processes; what has finished, or was begun, in the scratch folder is gone on with.

Each run is one of the library's comparison (`trial`), which reads and resumes it. What goes round them is not that of
`acs_fast.training.compare`, whose runs are methods times seeds on one data set, one after the other: variants here
differ in any setting, draw their data by seed, and may last as long as another one took.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acs_fast.benchmark import machine
from benchmarks import ROOT
from benchmarks.experiments.code_version import plan_commit
from benchmarks.experiments.plan import Experiment, Job, Plan
from benchmarks.experiments.results import Results, accuracy, cost
from benchmarks.experiments.trial import run_trial


@dataclass(frozen=True)
class Settings:
    """How to run: on which data, in how many processes, until when; `scratch` keeps the runs, `output` the results.

    `deadline` is a value of time.monotonic() after which no run starts.
    """

    source: str
    data: str
    jobs: int
    code: str
    scratch: Path
    output: Path
    deadline: float = float("inf")


def execute(experiment: Experiment, seeds: int, settings: Settings, pool: Executor) -> Results:
    """Run what is left to run; the results file is written after every run."""
    version = f"{settings.code}, {settings.jobs} processes"  # seconds are compared for the same number of them only
    plan = Plan(experiment, seeds, {"data": settings.data}, version)
    suffix = "" if settings.data == "fashion-mnist" else f"-{settings.data}"
    path = settings.output / f"{experiment.name}{suffix}.json"
    results = _begin(experiment, seeds, settings)
    results.runs = [job.record for job in plan.jobs]
    running: dict[Future[dict[str, Any]], list[Job]] = {}
    while plan.unfinished:
        _start(plan, settings, pool, running)
        results.write(path)
        if not running:
            break
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            _settle(running.pop(future), future, plan)
    results.complete = not plan.unfinished
    results.write(path)
    return results


def _start(plan: Plan, settings: Settings, pool: Executor, running: dict[Future[dict[str, Any]], list[Job]]) -> None:
    """Fill the idle processes; variants with the same settings share a run."""
    while len(running) < settings.jobs and time.monotonic() < settings.deadline:
        job = plan.ready()
        if job is None or job.config is None:
            return
        job.record.state = "running"
        same = next((jobs for jobs in running.values() if jobs[0].record.key == job.record.key), None)
        if same is not None:
            same.append(job)
            continue
        folder = settings.scratch / job.record.key
        running[pool.submit(run_trial, job.config, settings.source, folder)] = [job]


def _settle(jobs: list[Job], future: Future[dict[str, Any]], plan: Plan) -> None:
    error = future.exception()
    if error is not None and not isinstance(error, (ValueError, RuntimeError, OSError)):
        raise error
    for job in jobs:
        job.record.state = "done" if error is None else "failed"
        job.record.reason = "" if error is None else f"{type(error).__name__}: {error}"
        job.record.result = future.result() if error is None else None
    result, (kind, weights) = jobs[0].record.result, plan.experiment.figure
    said = jobs[0].record.reason
    if result is not None:
        said = f"{cost(result):.1f} s, {kind} {accuracy(kind, weights)(result):.1f} %"
    done = sum(job.record.state not in ("waiting", "running") for job in plan.jobs)
    names = ", ".join(f"{job.variant.name}, seed {job.record.seed}" for job in jobs)
    print(f"[{plan.experiment.name} {done}/{len(plan.jobs)}] {names}: {said}", file=sys.stderr)


def _begin(experiment: Experiment, seeds: int, settings: Settings) -> Results:
    e = experiment
    return Results(
        experiment=e.name, title=e.title, question=e.question, data=settings.data, seeds=seeds, minutes=e.minutes,
        base=dict(e.base), candidate=e.candidate, controls=list(e.controls), full=e.full, code=settings.code,
        processes=settings.jobs, first_seed=e.first_seed, figure=list(e.figure), threshold=e.threshold,
        oracle=e.oracle, plan="" if e.threshold is None else plan_commit(), **machine.stamp(ROOT),
    )  # fmt: skip
