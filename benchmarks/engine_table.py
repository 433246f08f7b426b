"""The engine's section of the README, from results files."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import bars
from benchmarks.results_file import Row, Run

HEADER = "| | step, s (p20 to p80) | steps | speed-up | memory, MiB | loss added |\n|---|---|---|---|---|---|"

NOTES = (
    "Speed-up: the published loop's median step over this one's. Memory: peak of a step above what is there between "
    "steps. Loss added: by how much the attack raises the cross-entropy (TRADES: the divergence) on the first weights. "
    "Source: `python -m benchmarks.engine`, `benchmarks/results/engine`."
)


@dataclass(frozen=True)
class Bar:
    """How many times as fast as the published loop a contender has to be."""

    case: str
    opponent: str
    threshold: float


BARS = (
    Bar("engine-pgd", "ours", 1.45),
    Bar("engine-pgd", "ours-channels-last", 1.9),
    Bar("engine-pgd", "ours-compiled", 2.2),
    Bar("engine-trades", "ours", 1.4),
)


def tables(run: Run) -> list[str]:
    """Markdown, one table for each case."""
    return [_table(case, run.of_case(case["name"])) for case in run.cases]


def verdicts(run: Run) -> list[bars.Verdict]:
    """One for each bar whose case is in the run."""
    known = {case["name"]: case for case in run.cases}
    return [_judge(bar, known[bar.case], run.of_case(bar.case)) for bar in BARS if bar.case in known]


def _judge(bar: Bar, case: dict, rows: list[Row]) -> bars.Verdict:
    found = {row.opponent: row for row in rows if row.ok}
    ours, published = found.get(bar.opponent), found.get("published")
    title = f"{case['title']}: {ours.title if ours else bar.opponent}"
    wanted = f"at least {bar.threshold:g} times as fast as the published loop"
    if ours is None or published is None:
        return bars.Verdict(title, wanted, "not measured", None)
    ratio = published.median / ours.median
    return bars.Verdict(title, wanted, f"{ratio:.2f} times", ratio >= bar.threshold)


def _table(case: dict, rows: list[Row]) -> str:
    published = next((row for row in rows if row.opponent == "published" and row.ok), None)
    lines = [_line(row, published) for row in rows]
    return "\n".join([f"**{case['title']}** ({case['name']}: {case['size']})", "", HEADER, *lines])


def _line(row: Row, published: Row | None) -> str:
    if not row.ok:
        return f"| {row.title} | {row.status}: {row.reason} | | | | |"
    spread = f"{row.median:.3g} ({row.percentile(20):.3g} to {row.percentile(80):.3g})"
    ratio = f"{published.median / row.median:.2f}" if published else ""
    memory = "" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.0f}"
    gain = f"{row.quality['gain']:.3f}" if "gain" in row.quality else ""
    return f"| {row.title} | {spread} | {len(row.seconds)} | {ratio} | {memory} | {gain} |"
