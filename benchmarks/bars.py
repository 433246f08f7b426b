"""Bars: what must hold in a case, measured against what a run found."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.cases import BARS, Bar
from benchmarks.results_file import Row, Run

ROUNDING = 1e-6  # answers that agree to this part are equally good


@dataclass(frozen=True)
class Verdict:
    """Attributes: the bar in words, what was measured in words, whether it holds (None: it could not be measured)."""

    title: str
    wanted: str
    found: str
    met: bool | None


def fastest(rows: list[Row], kind: str) -> Row | None:
    return min((row for row in rows if row.kind == kind and row.ok), key=lambda row: row.median, default=None)


def verdicts(run: Run) -> list[Verdict]:
    """One for each bar whose case is in the run."""
    known = {case["name"]: case for case in run.cases}
    return [_judge(bar, known[bar.case], run.of_case(bar.case)) for bar in BARS if bar.case in known]


def _judge(bar: Bar, case: dict, rows: list[Row]) -> Verdict:
    title, ours = f"{case['title']} ({case['size']})", fastest(rows, "ours")
    if bar.measure == "speedup":
        return _speedup(bar, title, ours, rows)
    if bar.measure == "sgemm":
        return _rate(bar, title, case, ours, rows)
    unit, value = "s", ours.median if ours else None
    if bar.measure == "gib":
        unit, value = "GiB above the inputs", ours.peak_bytes / 2**30 if ours and ours.peak_bytes is not None else None
    wanted = f"at most {bar.threshold:g} {unit}"
    if value is None:
        return Verdict(title, wanted, "not measured", None)
    return Verdict(title, wanted, f"{value:.3g} {unit}", value <= bar.threshold)


def _speedup(bar: Bar, title: str, ours: Row | None, rows: list[Row]) -> Verdict:
    named = [row for row in rows if row.opponent == bar.against and row.ok]
    rival = fastest(rows, "peer") if bar.against == "best peer" else next(iter(named), None)
    against = f"{rival.title}, the best peer" if rival and bar.against == "best peer" else rival and rival.title
    wanted = f"at least {bar.threshold:g} times as fast as {against or bar.against}"
    if bar.quality is not None:
        wanted += f", {_worth(rows)} at most {bar.quality:g} times its"
    if ours is None or rival is None:
        return Verdict(title, wanted, "not measured", None)
    ratio, worth = rival.median / ours.median, quality_ratio(ours, rival)
    found = f"{ratio:.3g} times" + (f", {_worth(rows)} {worth:.6g} times" if worth is not None else "")
    good = bar.quality is None or (worth is not None and worth <= bar.quality + ROUNDING)
    return Verdict(title, wanted, found, ratio >= bar.threshold and good)


def _worth(rows: list[Row]) -> str:
    return "objective" if any("objective" in row.quality for row in rows) else "error"


def quality_ratio(ours: Row, rival: Row) -> float | None:
    """Our objective (or gradient error) over the rival's; below 1 ours is better."""
    for name in ("objective", "gradient_error"):
        if name in ours.quality and rival.quality.get(name):
            return ours.quality[name] / rival.quality[name]
    return None


def _rate(bar: Bar, title: str, case: dict, ours: Row | None, rows: list[Row]) -> Verdict:
    """Our products per second over sgemm's; symmetry leaves N(N+1)/2 of the N^2 entries to compute."""
    wanted = f"at least {bar.threshold:.0%} of the measured sgemm rate on the products that symmetry leaves"
    sgemm = next((row for row in rows if row.opponent == "sgemm" and row.ok), None)
    if ours is None or sgemm is None:
        return Verdict(title, wanted, "not measured", None)
    rate, peak = gflops(case, ours, symmetric=True), gflops(case, sgemm, symmetric=False)
    return Verdict(title, wanted, f"{rate / peak:.0%} ({rate:.0f} of {peak:.0f} GFLOP/s)", rate >= bar.threshold * peak)


def gflops(case: dict, row: Row, symmetric: bool) -> float:
    """10^9 multiplications and additions a second in the two Gram products."""
    n, width = case["n"], case["classes"] + case["width"]
    entries = n * (n + 1) / 2 if symmetric else n * n
    return 2.0 * entries * width / row.median / 1e9
