"""What an experiment is, and which of its runs can start: every run in an order that mixes the methods."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

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
        minutes: expected core-minutes for all seeds, measured on one core of the machine named in the README.
        candidate: label of the variant that the bars are about.
        controls: labels of what it has to beat at the same seconds.
        full: label of the training on the full data that speed-ups refer to.
        digits: settings of the base that differ on the small digits data.
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

    def on(self, data: str) -> Experiment:
        """The experiment with the base for these data; variants with epochs of their own keep their share of it."""
        if data != "digits":
            return self
        base = {**self.base, **self.digits}
        longer = base["epochs"] / self.base["epochs"]
        scaled = [
            replace(v, overrides={**v.overrides, "epochs": round(longer * v.overrides["epochs"])})
            if "epochs" in v.overrides else v
            for v in self.variants
        ]  # fmt: skip
        return replace(self, base=base, variants=tuple(scaled))


@dataclass
class Job:
    """A variant on a seed. `state` goes from "waiting" to "running" to "done", "failed" or "not run"."""

    variant: Variant
    seed: int
    state: str = "waiting"
    reason: str = ""
    key: str = ""
    config: TrialConfig | None = None
    result: dict[str, Any] | None = None


@dataclass
class Plan:
    """The jobs of an experiment, seed by seed and method after method, so that noise of the machine hits all alike."""

    experiment: Experiment
    seeds: int
    common: Mapping[str, Any] = field(default_factory=dict)  # on top of everything, such as the name of the data
    version: str = ""
    jobs: list[Job] = field(init=False)

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1; got {self.seeds}")
        self.jobs = [Job(v, seed) for seed in range(self.seeds) for v in self.experiment.variants]

    def ready(self) -> Job | None:
        """The next job that can start, its config and key set; None when none can."""
        for job in self.jobs:
            if job.state == "waiting" and self._prepare(job):
                return job
        return None

    @property
    def unfinished(self) -> list[Job]:
        return [job for job in self.jobs if job.state in ("waiting", "running")]

    def _prepare(self, job: Job) -> bool:
        """Whether the job can start. One that never can gets state "not run" and the reason."""
        settings = {**self.experiment.base, **job.variant.overrides, **self.common, "seed": job.seed}
        try:
            config = TrialConfig(**settings)
        except (ValueError, TypeError) as error:
            job.state, job.reason = "not run", str(error)
            return False
        if job.variant.same_seconds is not None:
            epochs = self._affordable(job)
            if epochs is None:
                return False
            config = replace(config, epochs=epochs)
        job.config, job.key = config, key_of(config, self.version)
        return True

    def _affordable(self, job: Job) -> int | None:
        """Epochs that cost as much as the anchor did; None while that is not known."""
        rule = job.variant.same_seconds
        if rule is None:
            raise ValueError(f"variant {job.variant.name} has no rule for its seconds")
        found = [self._find(label, job) for label in (rule.anchor, rule.pace)]
        for label, other in zip((rule.anchor, rule.pace), found, strict=True):
            if other is None or other.state in ("failed", "not run"):
                job.state, job.reason = "not run", f"it needs the seconds of {label}, which was not run"
                return None
        anchor, pace = found
        if anchor is None or pace is None or anchor.result is None or pace.result is None or pace.config is None:
            return None
        return max(1, round(pace.config.epochs * cost(anchor.result) / cost(pace.result)))

    def _find(self, label: str, near: Job) -> Job | None:
        groups = (near.variant.group, "")
        same = [j for j in self.jobs if j.seed == near.seed and j.variant.label == label and j.variant.group in groups]
        return next(iter(sorted(same, key=lambda j: j.variant.group, reverse=True)), None)


def cost(result: Mapping[str, Any]) -> float:
    """Seconds that a user pays: attacks, steps and selections; validation and diagnostics are left out."""
    return float(result["seconds"]["training"] + result["seconds"]["selection"])


def key_of(config: TrialConfig, version: str) -> str:
    """Names a run: the same settings under the same code give the same key."""
    text = json.dumps([config.as_dict(), version], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
