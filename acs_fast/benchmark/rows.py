"""Measured rows and runs, and their JSON file, rewritten whole after every row."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1
ALLOWED: dict[str, Callable[[float], float]] = {  # by how much the worth of an answer may differ from a reference's
    "picks": lambda _: 0.0,
    "repeated": lambda _: 0.0,
    "negative": lambda _: 0.0,
    "checksum": lambda _: 0.0,
    "objective": lambda value: 1e-3 * value,  # distances are rounded differently, so that near ties may go another way
    "gradient_error": lambda value: 0.05 * value + 1e-4,
    "max_error": lambda value: 2.0 * value + 1e-5,
    "gain": lambda value: 0.05 * value,
}
LOWER_IS_BETTER = {"objective": True, "gradient_error": True, "max_error": True, "negative": True, "gain": False}


@dataclass
class Row:
    """One opponent in one case.

    Attributes:
        kind: "ours", "older" (ours of an older commit), "peer" (what could be installed instead), "published", "mixed"
            (a peer with a part of ours), "bound" (a part of the work, which nobody can do faster) or "control" (no
            rival, shown beside the others).
        status: "ok", "differs" (its answer is not that of the reference path), "out of memory", "over time", "failed"
            or "not run", with the `reason`.
        seconds: of every timed run.
        peak_bytes: above the inputs, in the first run; None where it cannot be measured.
        quality: what the answer is worth, by name.
        cold: the only run was the first, there was no time to warm up.
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
        return float(np.percentile(self.seconds, percent))

    def ratios(self, other: Row) -> list[float]:
        """Seconds of the other over ours, for every pair of runs."""
        return [theirs / own for theirs in other.seconds for own in self.seconds]


def difference(row: Row, reference: Row) -> str:
    """How an answer of ours differs from that of the reference path; "" where it does not."""
    for name, value in reference.quality.items():
        own = row.quality.get(name, float("nan"))
        if not abs(own - value) <= ALLOWED[name](value):
            return f"{name.replace('_', ' ')} {own:.6g} where {reference.title} has {value:.6g}"
    return ""


def as_good(row: Row, other: Row) -> bool:
    """Whether the answer of a row is worth at least what that of another is; without that no speed-up is told."""
    for name, lower in LOWER_IS_BETTER.items():
        if name in row.quality and name in other.quality:
            own, value = row.quality[name], other.quality[name]
            if not (own - value if lower else value - own) <= ALLOWED[name](value):
                return False
    return True


@dataclass
class Run:
    """A run: where, with what, which cases, which of them have all their rows (`finished`), and the rows."""

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
    finished: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def of_case(self, name: str) -> list[Row]:
        return [row for row in self.rows if row.case == name]

    def write(self, path: Path) -> None:
        write_results(path, FORMAT, asdict(self))


def read(path: Path) -> Run:
    """Read a results file.

    Raises:
        ValueError: a file of another format.
    """
    content = read_results(path, FORMAT)
    rows = [Row(**row) for row in content.pop("rows")]
    return Run(**content, rows=rows)


def write_results(path: Path, number: int, content: dict[str, Any]) -> None:
    """Write a results file whole or not at all, with the number of its format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps({"format": number, **content}, indent=1) + "\n")
    draft.replace(path)


def read_results(path: Path, number: int) -> dict[str, Any]:
    """The content of a results file. Raises ValueError for one of another format."""
    content: dict[str, Any] = json.loads(path.read_text())
    if content.pop("format", None) != number:
        raise ValueError(f"{path} is no results file of format {number}")
    return content
