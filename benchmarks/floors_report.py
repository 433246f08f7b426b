"""What `benchmarks.floors_cpu` measured, as tables of the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acs_fast.benchmark.rows import read_results
from benchmarks import markdown
from benchmarks.floors_cpu import FORMAT

Rows = list[dict[str, Any]]
DISTANCES = {
    "first": "memory new to the process", "fresh": "given back and asked for again", "reused": "the same memory again",
    "rows": "rows, nothing mirrored", "fresh_small_pages": "given back, pages of 4 KiB",
    "reused_small_pages": "the same, pages of 4 KiB",
}  # fmt: skip
RATES = {
    "products_per_second": "blocked products, GFLOP/s", "bytes_per_second": "reading all columns, GB/s",
    "factor_bytes_per_second": "reading the factor, GB/s",
}  # fmt: skip
FLOORS = {
    "whole_gram": "the whole Gram matrix", "needed_columns": "the columns of the picks",
    "passes_over_all_columns": "passes over all columns", "screening_only": "correlations by screening alone",
    "correlations": "floor: correlations", "least_squares": "floor: least squares", "floor": "**floor**",
}  # fmt: skip
TODAY = {"select": "**today**", "columns": "today: columns", "screening": "today: screening", "refit": "today: refit"}


def section(folder: Path) -> str:
    """The newest floors and rates of a folder; empty without any."""
    newest = {path.stem.rpartition("-")[2]: path for path in sorted(folder.glob("*.json"))}
    found = {part: read_results(path, FORMAT) for part, path in newest.items()}
    parts = []
    if "matching" in found:
        parts += [f"**Floor of gradient matching, and where its time goes**\n\n{_matching(found['matching']['rows'])}"]
    if "distances" in found:
        parts += [f"**Rate of distances, GFLOP/s**\n\n{_distances(found['distances']['rows'])}"]
    parts += [markdown.origin(f["machine"], f["commit"], f["date"]) + "." for f in found.values()]
    return "## Floors on a CPU\n\n" + markdown.folded("Every figure", "\n\n".join(parts)) if parts else ""


def _matching(rows: Rows) -> str:
    """A column for each size."""
    lines = [(name, [f"{row['floor'][key] / 1e9:.3g}" for row in rows]) for key, name in RATES.items()]
    lines += [(name, [_time(row["floor"][key]) for row in rows]) for key, name in FLOORS.items()]
    lines += [(name, [_time(row["seconds"][key]) for row in rows]) for key, name in TODAY.items()]
    lines += [
        ("**today over floor**", [f"{row['over_floor']:.1f}" for row in rows]),
        ("one thread", [_time(row["seconds_of_one_thread"]["select"]) for row in rows]),
        ("two threads less half of one", [_time(row["meetings_and_serial_parts"]) for row in rows]),
        ("atoms tried", [f"{row['atoms_tried']:,}" for row in rows]),
    ]
    if "groups" in rows[0]:
        name = f"**one of {rows[0]['groups']} groups side by side**"
        lines += [
            (name, [_time(row["seconds_of_a_group"]) for row in rows]),
            (f"{name}, over floor", [f"{row['group_over_floor']:.1f}" for row in rows]),
        ]
    for key in sorted(rows[-1]["core_seconds"], key=rows[-1]["core_seconds"].get, reverse=True):
        lines.append((f"of two cores: {key}", [_time(row["core_seconds"].get(key, 0.0)) for row in rows]))
    head = markdown.line(["", *(f"N = {row['n']:,}, k = {row['budget']:,}" for row in rows)])
    return markdown.table(head, [markdown.line([name, *cells]) for name, cells in lines])


def _distances(rows: Rows) -> str:
    head = markdown.line(["N", *DISTANCES.values()])
    lines = [[f"{row['n']:,}", *(f"{row[key]:.0f}" if key in row else "" for key in DISTANCES)] for row in rows]
    return markdown.table(head, [markdown.line(line) for line in lines])


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1.0 else f"{1e3 * seconds:.3g} ms"
