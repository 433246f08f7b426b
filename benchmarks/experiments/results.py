"""Results files, one per experiment and written anew after every run; and figures from them, with intervals."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from acs_fast.benchmark.rows import read_results, write_results
from benchmarks.experiments.pools import PAIRINGS

FORMAT = 1
CONFIDENCE = 0.95


@dataclass
class Record:
    """A variant on a seed; `result` is the run's result.json where it finished.

    No `acs_fast.benchmark.Row`, which has the seconds of the same work done again: a training is done once, and what is
    told of it are accuracies.
    """

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
    first_seed: int = 0
    figure: list[str] = field(default_factory=lambda: ["robust", "best"])
    threshold: float | None = None
    oracle: str = ""
    plan: str = ""
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
        write_results(path, FORMAT, asdict(self))


def read(path: Path) -> Results:
    """Raises ValueError for a file of another format."""
    content = read_results(path, FORMAT)
    runs = [Record(**run) for run in content.pop("runs")]
    return Results(**content, runs=runs)


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its confidence interval (None: a single value has none)."""

    mean: float
    half: float | None
    count: int

    @property
    def bar(self) -> float:
        """Length of the error bar."""
        return self.half or 0.0

    def __format__(self, spec: str) -> str:
        """`f"{interval:.1f}"`: the mean, and the half width where there is one."""
        half = "" if self.half is None else f" ± {self.half:{spec.removeprefix('+')}}"
        return f"{self.mean:{spec}}{half}"


def interval(values: Sequence[float]) -> Interval:
    """Student's interval for the mean of a few independent values."""
    from scipy import stats

    centre, n = statistics.fmean(values), len(values)
    if n == 1:
        return Interval(centre, None, 1)
    return Interval(centre, float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1) * stats.sem(values)), n)


Measure = Callable[[dict[str, Any]], "float | None"]


def accuracy(kind: str, weights: str = "best") -> Measure:
    """Test accuracy in percent of the "best", "last" or "average" weights.

    Args:
        kind: "clean" or "robust", and where images have kinds "balanced" (robust, every kind counting the same),
            "worst" (robust, of the worst kind) or "clean_balanced"; "autoattack", where a run has it, every kind
            counting the same.
        weights: see above.
    """

    def measure(result: dict[str, Any]) -> float | None:
        found = result["test"].get(weights, {}).get(kind)
        if found is None:
            return None
        return 100.0 * float(found["balanced"] if kind == "autoattack" else found)

    return measure


robust = accuracy("robust")


def rare(result: dict[str, Any]) -> float | None:
    """Robust accuracy in percent of the averaged weights on the rarer kind of each label, where kinds hide."""
    config = result["config"]
    pairs = PAIRINGS.get(config.get("pairing", 0), ())
    each = result["test"]["average"]["each"] if pairs else {}
    return 100.0 * statistics.fmean(each[str(pair[(config["seed"] + 1) % 2])] for pair in pairs) if pairs else None


def error(result: dict[str, Any]) -> float | None:
    """Relative error of the coreset's gradient, mean over selections."""
    value = result["gradient_error"]
    return None if value is None else float(value)


def variance(result: dict[str, Any]) -> float | None:
    """Expected squared relative error of the gradient at the first selection, which runs of 2026-11 have measured."""
    found = [s["gradient_variance"] for s in result.get("selections", ()) if s.get("gradient_variance") is not None]
    return float(found[0]) if found else None


def samples(result: dict[str, Any]) -> float | None:
    """Samples trained on, each as often as it was."""
    return result.get("samples_visited")


def steps(result: dict[str, Any]) -> float | None:
    """Steps of the optimiser, where a run counts them."""
    return result.get("steps")


def effective_size(result: dict[str, Any]) -> float | None:
    """(sum of weights)^2 / sum of squared weights of the last coreset, where a run keeps it."""
    return result.get("effective_size")


def cost(result: dict[str, Any]) -> float:
    """Seconds that a user pays: attacks, steps and selections; validation and diagnostics are left out."""
    return float(result["seconds"]["training"] + result["seconds"]["selection"])


def mean(records: list[Record], measure: Measure) -> Interval | None:
    """Over the seeds of a variant; None where no run has the figure."""
    known = [v for r in records if r.result is not None and (v := measure(r.result)) is not None]
    return interval(known) if known else None


def differences(ours: list[Record], theirs: list[Record], measure: Measure) -> list[float]:
    """Ours minus theirs, on the seeds that both have."""
    own, rival = ({r.seed: measure(r.result) for r in rs if r.result is not None} for rs in (ours, theirs))
    return [own[s] - rival[s] for s in own if own[s] is not None and rival.get(s) is not None]


def paired(ours: list[Record], theirs: list[Record], measure: Measure) -> Interval | None:
    """The mean difference by seed; None where they share no seed."""
    both = differences(ours, theirs, measure)
    return interval(both) if both else None


@dataclass(frozen=True)
class Advantage:
    """A mean difference by seed, its one-sided lower 95 % bound, and p of a one-sided paired t-test."""

    mean: float
    low: float
    p: float
    count: int


def advantage(ours: list[Record], theirs: list[Record], measure: Measure, margin: float = 0.0) -> Advantage | None:
    """Of ours over theirs, tested to be above -margin; None where they share fewer than two seeds."""
    from scipy import stats

    both = differences(ours, theirs, measure)
    if len(both) < 2:
        return None
    test = stats.ttest_1samp(both, -margin, alternative="greater")
    low = float(test.confidence_interval(CONFIDENCE).low)
    return Advantage(statistics.fmean(both), low, float(test.pvalue), len(both))


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for as many tests, by Holm's rule."""
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted


def collapsed(result: dict[str, Any]) -> bool:
    """Catastrophic overfitting: seen in validation, or the last weights keep less than half of the best ones'."""
    if result.get("catastrophic_overfitting_epoch") is not None:
        return True
    last, best = accuracy("robust", "last")(result), robust(result)
    return last is not None and best is not None and last < 0.5 * best
