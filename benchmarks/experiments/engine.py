"""How much faster a training step is than in the published loop: from the engine benchmark's own results files."""

from __future__ import annotations

from pathlib import Path

from acs_fast.benchmark import read
from benchmarks import RESULTS

FOLDER = RESULTS / "step"
CASE, OURS, PUBLISHED = "engine-pgd", "ours-channels-last", "published"
SAME = "Speed-ups are over full training in the same engine"


def sentence(folder: Path = FOLDER) -> str:
    """What a speed-up leaves out, with the measured factor of the newest file that has it."""
    found = ratio(folder)
    if found is None:
        return f"{SAME}; the published loop was not timed."
    factor, size = found
    return (
        f"{SAME}. A step of the published loop takes {factor:.2f} times as long as one of this engine ({size}, see the "
        "table of training steps); that factor is not contained in the figures above."
    )


def ratio(folder: Path) -> tuple[float, str] | None:
    """Seconds of the published step over ours, and for what network; None where it was not measured."""
    runs = [read(path) for path in sorted(folder.glob("*.json"))] if folder.is_dir() else []
    for run in sorted((r for r in runs if not r.quick), key=lambda r: r.date, reverse=True):
        rows = {row.opponent: row for row in run.of_case(CASE) if row.ok}
        size = next((str(case["size"]) for case in run.cases if case["name"] == CASE), "")
        if OURS in rows and PUBLISHED in rows:
            return rows[PUBLISHED].median / rows[OURS].median, size
    return None
