"""A run as a table for the terminal."""

from __future__ import annotations

import numpy as np

from acs_fast._util.columns import aligned
from acs_fast.benchmark.case import REFERENCE
from acs_fast.benchmark.rows import Row, Run, as_good

COLUMNS = ("", "median", "p20 to p80", "speed-up", "p20 to p80", "peak")


def table(run: Run) -> str:
    """Every case: its size, then a line for each opponent, with the speed-up over the reference path."""
    blocks = []
    for case in run.cases:
        rows = run.of_case(case["name"])
        reference = next((row for row in rows if row.opponent == REFERENCE and row.ok), None)
        order = {name: place for place, name in enumerate(case["opponents"])}
        shown = sorted((row for row in rows if row.ok), key=lambda row: order[row.opponent])
        cells = [COLUMNS, *(_cells(row, reference) for row in shown)]
        lines = [f"{case['title']} ({case['size']})", *(f"  {line}" for line in aligned(cells))]
        lines += [f"  {row.title}: {row.status}, {row.reason}" for row in rows if not row.ok]
        if reference is None and shown:
            lines.append("  no answer was compared, since the reference path has none")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _cells(row: Row, reference: Row | None) -> tuple[str, ...]:
    speedup, spread = "", ""
    if reference is not None and row is not reference and as_good(row, reference):
        ratios = row.ratios(reference)
        speedup = f"{reference.median / row.median:.3g}x"
        spread = f"{np.percentile(ratios, 20):.3g} to {np.percentile(ratios, 80):.3g}"
    memory = "" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.0f} MiB"
    return (row.title, duration(row.median), _range(row), speedup, spread, memory)


def _range(row: Row) -> str:
    if len(row.seconds) == 1:
        return "one run"
    return f"{duration(row.percentile(20))} to {duration(row.percentile(80))}"


def duration(seconds: float) -> str:
    """Three digits in the unit that fits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
