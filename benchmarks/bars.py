"""Bars: what must hold in a case, judged by what a run found; every verdict of the report is one of these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from acs_fast.benchmark import Row, Run
from acs_fast.benchmark.rows import as_good
from benchmarks import markdown

WORDS = {True: "yes", False: "**no**", None: "?"}
RIVALS = ("peer", "published")
GIB = 2**30

Described = dict[str, Any]  # a case, as a results file has it
Figure = Callable[[Described, Row, Row], "tuple[float, str] | None"]


@dataclass(frozen=True)
class Measure:
    """A figure that a bar is about.

    Attributes:
        wanted: with places for the threshold and the name of the rival.
        figure: of a case, our row and the rival's, and the figure in words; None where it was not measured.
        at_most: whether the threshold is the most that the figure may be, and not the least.
        alone: no rival takes part.
    """

    wanted: str
    figure: Figure
    at_most: bool = False
    alone: bool = False


@dataclass(frozen=True)
class Bar:
    """A number that must be reached in a case.

    Attributes:
        measure: a name from `MEASURES`.
        ours: the opponent that has to reach it; "" for our fastest.
        against: an opponent; "" for the best peer.
        about: follows the case's title; "" for the title of `ours`.
    """

    case: str
    measure: str
    threshold: float
    ours: str = ""
    against: str = ""
    about: str = ""


@dataclass(frozen=True)
class Verdict:
    """The bar and what was measured, in words; whether it holds (None: it could not be measured)."""

    title: str
    wanted: str
    found: str
    met: bool | None


def gflops(case: Described, row: Row, symmetric: bool) -> float:
    """10^9 multiplications and additions a second in the two Gram products; symmetry leaves N (N + 1) / 2 entries."""
    n, width = case["n"], case["classes"] + case["width"]
    entries = n * (n + 1) / 2 if symmetric else n * n
    return 2.0 * entries * width / row.median / 1e9


def _speedup(case: Described, ours: Row, rival: Row) -> tuple[float, str]:
    if not as_good(ours, rival):
        return 0.0, "its answer is not as good"
    times = rival.median / ours.median
    return times, f"{times:.3g} times"


def _memory(case: Described, ours: Row, rival: Row) -> tuple[float, str] | None:
    if not ours.peak_bytes or not rival.peak_bytes:
        return None
    part = ours.peak_bytes / rival.peak_bytes
    return part, f"{part:.2g} ({ours.peak_bytes >> 20} of {rival.peak_bytes >> 20} MiB)"


def _sgemm(case: Described, ours: Row, rival: Row) -> tuple[float, str]:
    rate, peak = gflops(case, ours, symmetric=True), gflops(case, rival, symmetric=False)
    return rate / peak, f"{rate / peak:.0%} ({rate:.0f} of {peak:.0f} GFLOP/s)"


def gib(words: str) -> Figure:
    """Peak memory, in words with a place for it."""

    def figure(case: Described, ours: Row, rival: Row) -> tuple[float, str] | None:
        if ours.peak_bytes is None:
            return None
        return ours.peak_bytes / GIB, words.format(ours.peak_bytes / GIB)

    return figure


MEASURES = {
    "speedup": Measure("at least {threshold:g} times as fast as {name}, with an answer as good", _speedup),
    "memory": Measure("at most {threshold:g} of the memory of {name}, above the inputs of each", _memory, at_most=True),
    "sgemm": Measure("at least {threshold:.0%} of sgemm's rate on the products that symmetry leaves", _sgemm),
    "seconds": Measure(
        "at most {threshold:g} s", lambda case, ours, _: (ours.median, f"{ours.median:.3g}"), at_most=True, alone=True
    ),
    "gib": Measure("at most {threshold:g} GiB above the inputs", gib("{:.3g}"), at_most=True, alone=True),
}

BARS = (
    Bar("craig-5k", "speedup", 10.0),
    Bar("craig-50k", "seconds", 10.0),
    Bar("craig-50k", "gib", 2.0),
    Bar("greedy-5k", "speedup", 15.0, against="submodlib"),
    Bar("gradmatch-2k-k300", "speedup", 100.0, against="published"),
    Bar("gradmatch-2k-k300", "speedup", 1.5, against="before"),
    Bar("gradmatch-5k", "speedup", 2.5, against="before"),
    Bar("gradmatch-5k", "speedup", 1.0),
    Bar("distances-5k", "sgemm", 0.6, against="sgemm"),
    Bar("distances-20k", "sgemm", 0.6, against="sgemm"),
    Bar("distances-40k", "sgemm", 0.6, against="sgemm"),
    Bar("pixels-60k", "seconds", 200.0, ours="ours-cpu-1-gib"),
    Bar("pixels-60k", "gib", 1.0, ours="ours-cpu-1-gib"),
    Bar("pixels-60k", "seconds", 100.0, ours="ours-cpu-8-gib"),
    Bar("pixels-60k", "gib", 8.0, ours="ours-cpu-8-gib"),
    Bar("engine-pgd", "speedup", 1.45, "ours", "published"),
    Bar("engine-pgd", "speedup", 1.9, "ours-channels-last", "published"),
    Bar("engine-pgd", "speedup", 2.2, "ours-compiled", "published"),
    Bar("engine-trades", "speedup", 1.4, "ours", "published"),
    Bar("processes-attack", "speedup", 1.7, "two", "one"),
    Bar("processes-per-class", "speedup", 1.7, "two", "one"),
    Bar("processes-per-class", "memory", 0.6, "two", "one"),
    Bar("processes-global", "speedup", 1.5, "two", "one"),
    Bar("processes-step", "speedup", 0.95, "group-of-one", "one"),
)


def table(judged: list[Verdict]) -> str:
    """Markdown; "" for no bars."""
    lines = [markdown.line((v.title, v.wanted, v.found, WORDS[v.met])) for v in judged]
    return markdown.table("| work | wanted | measured | met |", lines) if lines else ""


def fastest(rows: list[Row], *kinds: str) -> Row | None:
    return min((row for row in rows if row.kind in kinds and row.ok), key=lambda row: row.median, default=None)


def verdicts(run: Run, bars: tuple[Bar, ...] = BARS, measures: Mapping[str, Measure] = MEASURES) -> list[Verdict]:
    """One for each bar whose case is in the run."""
    known = {case["name"]: case for case in run.cases}
    return [
        _judge(bar, measures[bar.measure], known[bar.case], run.of_case(bar.case)) for bar in bars if bar.case in known
    ]


def _judge(bar: Bar, measure: Measure, case: Described, rows: list[Row]) -> Verdict:
    ours = _row(rows, bar.ours, "ours")
    rival = ours if measure.alone else _row(rows, bar.against, *RIVALS)
    title = f"{case['title']}{bar.about or (f', {ours.title}' if bar.ours and ours else '')}"
    name = rival.title if rival and rival.ok else bar.against or "the best peer"
    wanted = measure.wanted.format(threshold=bar.threshold, name=name)
    failed = next((row for row in (ours, rival) if row is not None and not row.ok), None)
    if failed is not None:
        return Verdict(title, wanted, f"{failed.status}: {failed.reason}", None)
    found = measure.figure(case, ours, rival) if ours and rival else None
    if found is None:
        return Verdict(title, wanted, "not measured", None)
    value, words = found
    return Verdict(title, wanted, words, value <= bar.threshold if measure.at_most else value >= bar.threshold)


def _row(rows: list[Row], name: str, *kinds: str) -> Row | None:
    """The row of that name, whatever came of it; for none the fastest of these kinds."""
    return next((row for row in rows if row.opponent == name), None) if name else fastest(rows, *kinds)
