"""Results files: one JSON file per experiment, written anew after every run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.experiments.plan import cost
from benchmarks.experiments.statistics import Interval, interval

FORMAT = 1


@dataclass
class Record:
    """A variant on a seed; `result` is the run's result.json where it finished."""

    label: str
    group: str
    x: float | None
    seed: int
    state: str
    reason: str = ""
    key: str = ""
    result: dict[str, Any] | None = None


@dataclass
class Results:
    """An experiment: what was asked, where, with what, and every run."""

    experiment: str
    title: str
    question: str
    data: str
    date: str
    seeds: int
    minutes: float
    base: dict[str, Any]
    candidate: str
    controls: list[str]
    full: str
    machine: dict[str, Any]
    versions: dict[str, Any]
    commit: dict[str, Any]
    code: str
    processes: int
    threads_per_process: int = 1
    complete: bool = False
    runs: list[Record] = field(default_factory=list)

    @property
    def groups(self) -> list[str]:
        return list(dict.fromkeys(r.group for r in self.runs))

    def labels(self, group: str) -> list[str]:
        return list(dict.fromkeys(r.label for r in self.runs if r.group == group))

    def of(self, label: str, group: str) -> list[Record]:
        """The finished runs of a variant, by seed."""
        found = [r for r in self.runs if r.label == label and r.group == group and r.result is not None]
        return sorted(found, key=lambda r: r.seed)

    def reference(self, label: str, group: str) -> list[Record]:
        """`of`, or those of the variant that stands in no group."""
        return self.of(label, group) or self.of(label, "")

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n")
        draft.replace(path)


def read(path: Path) -> Results:
    """Raises ValueError for a file of another format."""
    content = json.loads(path.read_text())
    if content.pop("format", None) != FORMAT:
        raise ValueError(f"{path} is no results file of format {FORMAT}")
    runs = [Record(**run) for run in content.pop("runs")]
    return Results(**content, runs=runs)


Measure = Callable[[dict[str, Any]], "float | None"]


def robust(weights: str = "best") -> Measure:
    """Robust test accuracy in percent of the "best", "last" or "average" weights."""
    return lambda result: _percent(result, weights, "robust")


def clean(weights: str = "best") -> Measure:
    return lambda result: _percent(result, weights, "clean")


def error(result: dict[str, Any]) -> float | None:
    value = result["gradient_error"]
    return None if value is None else float(value)


def variance(result: dict[str, Any]) -> float | None:
    """Expected squared relative error of the gradient at the first selection.

    Runs of one seed and fraction warm up alike, so that every sampler is measured at the same weights.
    """
    found = [s["gradient_variance"] for s in result.get("selections", ()) if s.get("gradient_variance") is not None]
    return float(found[0]) if found else None


def seconds(result: dict[str, Any]) -> float:
    return cost(result)


def mean(records: list[Record], measure: Measure) -> Interval | None:
    """Over the seeds of a variant; None where no run has the figure."""
    values = [measure(r.result) for r in records if r.result is not None]
    known = [v for v in values if v is not None]
    return interval(known) if known else None


def paired(ours: list[Record], theirs: list[Record], measure: Measure) -> Interval | None:
    """Ours minus theirs, on the seeds that both have; None where they share none."""
    other = {r.seed: measure(r.result) for r in theirs if r.result is not None}
    differences = []
    for record in ours:
        own, rival = measure(record.result) if record.result is not None else None, other.get(record.seed)
        if own is not None and rival is not None:
            differences.append(own - rival)
    return interval(differences) if differences else None


def collapsed(result: dict[str, Any]) -> bool:
    """Catastrophic overfitting: seen in validation, or the last weights keep less than half of the best ones'."""
    if result.get("catastrophic_overfitting_epoch") is not None:
        return True
    last, best = _percent(result, "last", "robust"), _percent(result, "best", "robust")
    return last is not None and best is not None and last < 0.5 * best


def _percent(result: dict[str, Any], weights: str, kind: str) -> float | None:
    test = result["test"].get(weights)
    return None if test is None else 100.0 * float(test[kind])
