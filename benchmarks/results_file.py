"""Results files: one JSON file per run, rewritten whole after every row, so that an interrupted run keeps its rows."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "results"
FORMAT = 1


@dataclass
class Row:
    """One opponent in one case.

    Attributes:
        status: "ok", "out of memory", "over time", "failed" or "not run", with the `reason`.
        seconds: of every timed run. `cold`: the only run was the first, there was no time to warm up.
        peak_bytes: above the inputs, in the first run.
    """

    case: str
    opponent: str
    title: str
    kind: str
    status: str
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int | None = None
    quality: dict[str, float] = field(default_factory=dict)
    cold: bool = False
    reason: str = ""
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def percentile(self, percent: int) -> float:
        """By linear interpolation between the closest ranks."""
        ordered = sorted(self.seconds)
        position = (len(ordered) - 1) * percent / 100
        low = int(position)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (position - low) * (ordered[high] - ordered[low])


@dataclass
class Run:
    """A run: where, with what, which cases, and its rows."""

    device: str
    date: str
    quick: bool
    threads: int
    machine: dict[str, Any]
    versions: dict[str, Any]
    commit: dict[str, Any]
    cases: list[dict[str, Any]]
    tests: str = ""
    complete: bool = False
    rows: list[Row] = field(default_factory=list)

    def of_case(self, name: str) -> list[Row]:
        return [row for row in self.rows if row.case == name]

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".tmp")
        draft.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n")
        draft.replace(path)


def read(path: Path) -> Run:
    """Raises ValueError for a file of another format."""
    content = json.loads(path.read_text())
    if content.pop("format", None) != FORMAT:
        raise ValueError(f"{path} is no results file of format {FORMAT}")
    rows = [Row(**row) for row in content.pop("rows")]
    return Run(**content, rows=rows)
