"""Bars: what must hold in a case, judged by what a run found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from acs_fast.benchmark import Row, Run
from acs_fast.benchmark.rows import as_good

WORDS = {True: "yes", False: "**no**", None: "?"}
RIVALS = ("peer", "published")
WANTED = {  # by measure, over an opponent
    "speedup": "at least {threshold:g} times as fast as {name}, with an answer as good",
    "memory": "at most {threshold:g} of the memory of {name}, above the inputs of each",
    "sgemm": "at least {threshold:.0%} of sgemm's rate on the products that symmetry leaves",
}


@dataclass(frozen=True)
class Bar:
    """A number that must be reached in a case.

    Attributes:
        measure: "speedup" over `against`, "seconds", "gib" above the inputs, "memory" (above the inputs, as a part
            of that of `against`), or "sgemm" (part of the measured rate).
        ours: the opponent that has to reach it; "" for our fastest.
        against: an opponent; "" for the best peer.
    """

    case: str
    measure: str
    threshold: float
    ours: str = ""
    against: str = ""


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


@dataclass(frozen=True)
class Verdict:
    """The bar and what was measured, in words; whether it holds (None: it could not be measured)."""

    title: str
    wanted: str
    found: str
    met: bool | None


def table(judged: list[Verdict]) -> str:
    """Markdown; "" for no bars."""
    lines = [f"| {v.title} | {v.wanted} | {v.found} | {WORDS[v.met]} |" for v in judged]
    return "\n".join(["| work | wanted | measured | met |", "|---|---|---|---|", *lines]) if lines else ""


def fastest(rows: list[Row], *kinds: str) -> Row | None:
    return min((row for row in rows if row.kind in kinds and row.ok), key=lambda row: row.median, default=None)


def verdicts(run: Run) -> list[Verdict]:
    """One for each bar whose case is in the run."""
    known = {case["name"]: case for case in run.cases}
    return [_judge(bar, known[bar.case], run.of_case(bar.case)) for bar in BARS if bar.case in known]


def _judge(bar: Bar, case: dict[str, Any], rows: list[Row]) -> Verdict:
    named = {row.opponent: row for row in rows if row.ok}
    ours = named.get(bar.ours) if bar.ours else fastest(rows, "ours")
    title = f"{case['title']}{f', {ours.title}' if bar.ours and ours else ''}"
    if bar.measure in ("seconds", "gib"):
        return _within(bar, title, ours)
    rival = named.get(bar.against) if bar.against else fastest(rows, *RIVALS)
    name = rival.title if rival else bar.against or "the best peer"
    wanted = WANTED[bar.measure].format(threshold=bar.threshold, name=name)
    if ours is None or rival is None:
        return Verdict(title, wanted, "not measured", None)
    if bar.measure == "memory":
        return _smaller(bar, title, wanted, ours, rival)
    if bar.measure == "sgemm":
        rate, peak = gflops(case, ours, symmetric=True), gflops(case, rival, symmetric=False)
        found = f"{rate / peak:.0%} ({rate:.0f} of {peak:.0f} GFLOP/s)"
        return Verdict(title, wanted, found, rate >= bar.threshold * peak)
    if not as_good(ours, rival):
        return Verdict(title, wanted, "its answer is not as good", False)
    ratio = rival.median / ours.median
    return Verdict(title, wanted, f"{ratio:.3g} times", ratio >= bar.threshold)


def _within(bar: Bar, title: str, ours: Row | None) -> Verdict:
    """A limit of seconds, or of memory above the inputs."""
    wanted = f"at most {bar.threshold:g} {'s' if bar.measure == 'seconds' else 'GiB above the inputs'}"
    value = ours and (ours.median if bar.measure == "seconds" else (ours.peak_bytes or 0) / 2**30)
    found = "not measured" if value is None else f"{value:.3g}"
    return Verdict(title, wanted, found, None if value is None else value <= bar.threshold)


def _smaller(bar: Bar, title: str, wanted: str, ours: Row, rival: Row) -> Verdict:
    if not ours.peak_bytes or not rival.peak_bytes:
        return Verdict(title, wanted, "not measured", None)
    part = ours.peak_bytes / rival.peak_bytes
    found = f"{part:.2g} ({ours.peak_bytes >> 20} of {rival.peak_bytes >> 20} MiB)"
    return Verdict(title, wanted, found, part <= bar.threshold)


def gflops(case: dict[str, Any], row: Row, symmetric: bool) -> float:
    """10^9 multiplications and additions a second in the two Gram products; symmetry leaves N (N + 1) / 2 entries."""
    n, width = case["n"], case["classes"] + case["width"]
    entries = n * (n + 1) / 2 if symmetric else n * n
    return 2.0 * entries * width / row.median / 1e9
