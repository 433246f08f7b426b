"""The GPU's results, a verdict for every bar and all times: a section of the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from acs_fast.benchmark import Row, Run, read
from benchmarks import bars, markdown
from benchmarks.gpu import predictions
from benchmarks.gpu.bars import verdicts
from benchmarks.gpu.work import OPERATOR, PICKS, PUBLIC

HEADER = "| case | stage | floor, ms | predicted, ms | median, ms | p20 to p80, ms | times the floor | bar, ms |"
REHEARSED = "A rehearsal on small shapes: its times mean nothing, and neither do the verdicts."


def table(run: Run) -> str:
    """Floors, predictions and times of every case side by side."""
    lines = [_line(case, row) for case in run.cases for row in run.of_case(case["name"]) if row.opponent != PICKS]
    return markdown.table(HEADER, lines)


def _line(case: dict[str, Any], row: Row) -> str:
    stage = row.title
    if not row.ok:
        return f"| {case['name']} | {stage}: {row.status}: {row.reason} | | | | | | |"
    whole = sum(case["floor_s"].values())
    low = {**case["floor_s"], OPERATOR: whole, PUBLIC: whole}.get(stage)
    guess = predictions.load().get(case["name"], {}).get(stage)
    cells = [
        case["name"], stage, "" if low is None else f"{1e3 * low:.2f}", "" if guess is None else f"{1e3 * guess:.2f}",
        f"{1e3 * row.median:.2f}", f"{1e3 * row.percentile(20):.2f} to {1e3 * row.percentile(80):.2f}",
        "" if low is None else f"{row.median / low:.1f}", f"{1e3 * case['bar_seconds']:.0f}" if stage == case["judged"]
        else "",
    ]  # fmt: skip
    return markdown.line(cells)


def section(folder: Path) -> str:
    """Verdicts, table and origin of what `make gpu` has written into a folder; "" without results."""
    path, steps = folder / "gpu.json", folder / "gpu-steps.json"
    if not path.exists():
        return ""
    run = read(path)
    ended = json.loads(steps.read_text()) if steps.exists() else []
    state = ", ".join(f"{step['name']} {step['status']}" for step in ended)
    peaks = ", ".join(
        f"{row.case} {row.peak_bytes / 2**30:.1f} ({row.title})"
        for row in run.rows if row.peak_bytes is not None and row.opponent in (PUBLIC, OPERATOR)
    )  # fmt: skip
    versions = ", ".join(f"{name} {run.versions[name]}" for name in ("torch", "triton", "cuda") if name in run.versions)
    footer = (
        f"{markdown.origin(run.machine, run.commit, run.date)}, with {versions}: {run.machine['kernels']}. Floors from "
        f"rates measured in the same run. Peak memory in GiB, inputs included: {peaks or 'not measured'}. The steps of "
        f"`make gpu`: {state or 'not run'}."
    )
    judged = bars.table(verdicts(run, ended))
    parts = ["## The GPU's bars", *([REHEARSED] if run.quick else []), judged, table(run), footer]
    return "\n\n".join(parts)
