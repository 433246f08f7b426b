"""What an experiment is, and which of its runs can start: every run in an order that mixes the methods."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.experiments.results import Record, cost
from benchmarks.experiments.trial import TrialConfig


@dataclass(frozen=True)
class SameSeconds:
    """Choose the epochs such that the run costs what another one cost on the same seed.

    Attributes:
        anchor: label of the variant, in the same group, whose measured seconds are the budget.
        pace: label of the variant that costs the same per epoch as this one, in the same group or in none.
    """

    anchor: str
    pace: str


@dataclass(frozen=True)
class Variant:
    """One point of an experiment.

    Attributes:
        label: the method, the same in every group.
        overrides: settings of `TrialConfig` on top of the experiment's base.
        group: what it shares with the variants that it is compared with, such as "fraction 0.3"; "" is for all.
        x: its position, where the experiment is about a number.
        same_seconds: sets the number of epochs by measured cost.
    """

    label: str
    overrides: Mapping[str, Any]
    group: str = ""
    x: float | None = None
    same_seconds: SameSeconds | None = None

    @property
    def name(self) -> str:
        return f"{self.label} | {self.group}" if self.group else self.label


@dataclass(frozen=True)
class Experiment:
    """A question, and the runs that answer it.

    Attributes:
        base: settings that all variants share.
        minutes: expected core-minutes for all seeds.
        candidate: label of the variant that the bars are about.
        controls: labels of what it has to beat at the same seconds.
        full: label of the training on the full data that speed-ups refer to.
        digits: settings of the base that differ on the small digits data.
        first_seed: seeds count up from here; those of a plan have served no tuning.
        config: what the settings are those of.
        figure: kind and weights of the accuracy that the bars are about; see `results.accuracy`.
        threshold: points by which the candidate has to beat every control; negative ones are those by which it may
            fall behind, and the tests are of that. Only experiments with a plan, which is
            committed before they run, have one.
        oracle: label of a variant that knows what no method can know.
    """

    name: str
    title: str
    question: str
    minutes: float
    base: Mapping[str, Any]
    variants: tuple[Variant, ...]
    seeds: int = 3
    candidate: str = ""
    controls: tuple[str, ...] = ()
    full: str = "full"
    digits: Mapping[str, Any] = field(default_factory=dict)
    first_seed: int = 0
    config: type[TrialConfig] = TrialConfig
    figure: tuple[str, str] = ("robust", "best")
    threshold: float | None = None
    oracle: str = ""

    def on(self, data: str) -> Experiment:
        """The experiment with the base for these data; variants with epochs of their own keep their share of it."""
        if data != "digits":
            return self
        base = {**self.base, **self.digits}
        variants = []
        for v in self.variants:
            scaled = {k: round(n * base[k] / self.base[k]) for k, n in v.overrides.items() if k in ("epochs", "passes")}
            variants.append(replace(v, overrides={**v.overrides, **scaled}))
        return replace(self, base=base, variants=tuple(variants))


@dataclass
class Job:
    """A variant on a seed; `record.state` goes from "waiting" to "running" to "done", "failed" or "not run"."""

    variant: Variant
    record: Record
    config: TrialConfig | None = None

    def cannot(self, reason: str) -> bool:
        self.record.state, self.record.reason = "not run", reason
        return False


class Plan:
    """The jobs of an experiment, seed by seed and method after method, so that noise of the machine hits all alike.

    Args:
        common: settings on top of everything, such as the name of the data.
        version: runs are reused for the same version only.
    """

    def __init__(
        self, experiment: Experiment, seeds: int, common: Mapping[str, Any] | None = None, version: str = ""
    ) -> None:
        self.experiment, self.common, self.version = experiment, common or {}, version
        self.jobs = [
            Job(v, Record(v.label, v.group, v.x, seed, "waiting"))
            for seed in range(experiment.first_seed, experiment.first_seed + seeds) for v in experiment.variants
        ]  # fmt: skip

    def ready(self) -> Job | None:
        """The next job that can start, its config and key set; None when none can."""
        return next((job for job in self.jobs if job.record.state == "waiting" and self._prepare(job)), None)

    @property
    def unfinished(self) -> bool:
        return any(job.record.state in ("waiting", "running") for job in self.jobs)

    def _prepare(self, job: Job) -> bool:
        """Whether the job can start. One that never can gets state "not run" and the reason."""
        settings = {**self.experiment.base, **job.variant.overrides, **self.common, "seed": job.record.seed}
        try:
            config = self.experiment.config(**settings)
        except (ValueError, TypeError) as error:
            return job.cannot(str(error))
        if (rule := job.variant.same_seconds) is not None:
            anchor, pace = (self._find(label, job) for label in (rule.anchor, rule.pace))
            for label, other in ((rule.anchor, anchor), (rule.pace, pace)):
                if other is None or other.record.state in ("failed", "not run"):
                    return job.cannot(f"it needs the seconds of {label}, which was not run")
            if anchor.record.result is None or pace.record.result is None:
                return False
            epochs = pace.config.epochs * cost(anchor.record.result) / cost(pace.record.result)
            config = replace(config, epochs=max(1, round(epochs)))
        text = json.dumps([config.as_dict(), self.version], sort_keys=True)
        job.config, job.record.key = config, hashlib.sha256(text.encode()).hexdigest()[:16]
        return True

    def _find(self, label: str, near: Job) -> Job | None:
        """The job of that label on the same seed, in the same group or in none."""
        same = [j for j in self.jobs if j.record.seed == near.record.seed and j.variant.label == label]
        by_group = {j.variant.group: j for j in same}
        return by_group.get(near.variant.group, by_group.get(""))
