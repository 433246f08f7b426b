"""Runs an experiment: finished runs are taken from the scratch folder, the others go to worker processes."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from acs_fast.benchmark import machine
from acs_fast.training import checkpoint
from benchmarks import ROOT
from benchmarks.experiments.plan import Experiment, Job, Plan, cost
from benchmarks.experiments.pool import Pool, Task
from benchmarks.experiments.results import Record, Results
from benchmarks.experiments.trial import RESULT


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

    @property
    def suffix(self) -> str:
        """Tells the results files of other data from those of Fashion-MNIST."""
        return "" if self.data == "fashion-mnist" else f"-{self.data}"

    @property
    def version(self) -> str:
        """Runs are reused for the same code, measured in the same number of processes beside each other."""
        return f"{self.code}, {self.jobs} processes"


def execute(experiment: Experiment, seeds: int, settings: Settings, pool: Pool) -> Results:
    """Run what is left to run; the results file is written after every run."""
    plan = Plan(experiment, seeds, {"data": settings.data}, settings.version)
    path = settings.output / f"{experiment.name}{settings.suffix}.json"
    results = _begin(experiment, seeds, settings)
    started = time.monotonic()
    running: dict[str, list[Job]] = {}
    while plan.unfinished:
        _start(plan, settings, pool, running)
        if running:
            for task, result, error in pool.finished():
                for job in running.pop(task.key):
                    _settle(job, result, error)
                _say(plan, task.key, result, error, started)
        _write(results, plan, path)
        if not running and (time.monotonic() > settings.deadline or plan.ready() is None):
            break
    results.complete = not plan.unfinished
    _write(results, plan, path)
    return results


def _start(plan: Plan, settings: Settings, pool: Pool, running: dict[str, list[Job]]) -> None:
    """Fill the idle processes; runs that are in the scratch folder already, or under way, need none."""
    while pool.free and time.monotonic() < settings.deadline:
        job = plan.ready()
        if job is None or job.config is None:
            return
        job.state = "running"
        folder = settings.scratch / job.key
        if job.key in running:
            running[job.key].append(job)
        elif (folder / RESULT).exists():
            _settle(job, checkpoint.read_json(folder / RESULT, {"config", "test", "seconds"}), "")
        else:
            running[job.key] = [job]
            pool.submit(Task(job.key, job.config.as_dict(), settings.source, str(folder)))


def _settle(job: Job, result: dict[str, Any] | None, error: str) -> None:
    job.result, job.reason = result, error
    job.state = "failed" if result is None else "done"


def _begin(experiment: Experiment, seeds: int, settings: Settings) -> Results:
    e = experiment
    return Results(
        experiment=e.name, title=e.title, question=e.question, data=settings.data,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"), seeds=seeds, minutes=e.minutes,
        base=dict(e.base), candidate=e.candidate, controls=list(e.controls), full=e.full, machine=machine.machine(),
        versions=machine.versions(), commit=machine.commit(ROOT), code=settings.code, processes=settings.jobs,
    )  # fmt: skip


def _write(results: Results, plan: Plan, path: Path) -> None:
    results.runs = [
        Record(j.variant.label, j.variant.group, j.variant.x, j.seed, j.state, j.reason, j.key, j.result)
        for j in plan.jobs
    ]
    results.write(path)


def _say(plan: Plan, key: str, result: dict[str, Any] | None, error: str, started: float) -> None:
    names = ", ".join(f"{j.variant.name}, seed {j.seed}" for j in plan.jobs if j.key == key)
    done = sum(j.state not in ("waiting", "running") for j in plan.jobs)
    what = error if result is None else f"{cost(result):.1f} s, robust {100 * result['test']['best']['robust']:.1f} %"
    elapsed = (time.monotonic() - started) / 60
    print(f"[{plan.experiment.name} {done}/{len(plan.jobs)}, {elapsed:.1f} min] {names}: {what}", file=sys.stderr)
