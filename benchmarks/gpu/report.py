"""The GPU's results as a table: `python -m benchmarks.gpu.report [FOLDER]` prints it.

FOLDER is where `make gpu` has written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from acs_fast.benchmark import Row, Run, read
from benchmarks import markdown
from benchmarks.gpu import campaign, predictions

HEADER = "| case | stage | floor, ms | predicted, ms | median, ms | p20 to p80, ms | times the floor | bar, ms | met |"
PLAIN = "plain products"
SHARE_OF_PLAIN = 0.6


def table(run: Run, only: str | None = None) -> str:
    """Floors, predictions and times of every case side by side."""
    cases = [case for case in run.cases if only in (None, case["name"])]
    lines = [_line(case, row, run.of_case(case["name"])) for case in cases for row in run.of_case(case["name"])]
    return "\n".join([HEADER, "|" + "---|" * 9, *lines])


def _line(case: dict[str, Any], row: Row, rows: list[Row]) -> str:
    if not row.ok:
        return f"| {case['name']} | {row.status}: {row.reason} | | | | | | | |"
    stage, median = row.opponent, row.median
    low = {**case["floor_s"], "all": sum(case["floor_s"].values())}.get(stage)
    guess = predictions.load().get(case["name"], {}).get(stage)
    bar, met = "", ""
    if stage == "all":
        bar, met = f"{1e3 * case['bar_seconds']:.0f}", "yes" if median <= case["bar_seconds"] else "**no**"
    plain = next((other for other in rows if other.opponent == PLAIN and other.ok), None)
    if stage == "distances" and plain is not None:  # the rate: what a plain product takes over what they take
        share = plain.median / median
        bar, met = f"{SHARE_OF_PLAIN:.0%} of plain", f"{'yes' if share >= SHARE_OF_PLAIN else '**no**'}, {share:.0%}"
    cells = [
        case["name"], stage, "" if low is None else f"{1e3 * low:.2f}", "" if guess is None else f"{1e3 * guess:.2f}",
        f"{1e3 * median:.2f}", f"{1e3 * row.percentile(20):.2f} to {1e3 * row.percentile(80):.2f}",
        "" if low is None else f"{median / low:.1f}", bar, met,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def section(folder: Path) -> str:
    """Table and origin; "" without results."""
    path, steps = folder / "gpu.json", folder / "gpu-steps.json"
    if not path.exists():
        return ""
    run = read(path)
    ended = json.loads(steps.read_text()) if steps.exists() else []
    state = ", ".join(f"{step['name']} {step['status']}" for step in ended if step["name"] != "measure")
    peaks = ", ".join(f"{row.case} {row.peak_bytes / 2**30:.1f}" for row in run.rows if row.peak_bytes is not None)
    versions = ", ".join(f"{name} {run.versions[name]}" for name in ("torch", "triton", "cuda") if name in run.versions)
    footer = (
        f"{markdown.origin(run.machine, run.commit, run.date)}, with {versions}: {run.machine['kernels']}. Floors from "
        f"rates measured in the same run. Peak memory in GiB: {peaks or 'not measured'}. The other steps of "
        f"`make gpu`: {state or 'not run'}."
    )
    return f"## The GPU's bars\n\n{table(run)}\n\n{footer}"


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else campaign.FOLDER
    text = section(folder)
    if not text:
        print(f"no gpu.json in {folder}: run `make gpu` on a machine with a GPU first", file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
