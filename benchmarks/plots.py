"""Plots next to the results files: how time and memory grow with N and with k, and matching with k."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.results_file import Row, Run

Points = dict[str, list[tuple[int, Row]]]  # by opponent, ascending

PANELS = {  # series: (axis, quantities)
    "growth-n": ("number of samples N", ("time", "memory")),
    "growth-k": ("budget k", ("time", "memory")),
    "matching-k": ("budget k", ("time", "error")),
}
QUANTITIES: dict[str, tuple[str, Callable[[Row], float]]] = {
    "time": ("median time, s", lambda row: row.median),
    "memory": ("peak memory above the inputs, GiB", lambda row: max(row.peak_bytes or 0, 1 << 20) / 2**30),
    "error": ("relative gradient error", lambda row: row.quality["gradient_error"]),
}
COLOURS = {"ours-cpu": "#c1121f", "ours-cuda": "#c1121f", "ours-triton": "#e85d04", "ours-reference": "#f4a6a0"}


def draw(runs: list[Run], folder: Path, device: str) -> list[Path]:
    """One PNG for each series that has two points or more."""
    import matplotlib

    matplotlib.use("Agg")
    images = []
    for series in PANELS:
        points, case, run = collect(runs, series)
        if run is not None and max((len(p) for p in points.values()), default=0) > 1:
            path = folder / f"{series}-{device}.png"
            _figure(series, points, case, run, path)
            images.append(path)
    return images


def collect(runs: list[Run], series: str) -> tuple[Points, dict[str, Any], Run | None]:
    """The measured points of a series, from the newest run that has any."""
    for run in runs:
        cases = [case for case in run.cases if case["series"] and case["series"][0] == series]
        points: Points = {}
        for case in sorted(cases, key=_position):
            for row in run.of_case(case["name"]):
                if row.ok:
                    points.setdefault(row.opponent, []).append((_position(case), row))
        if points:
            return points, cases[0], run
    return {}, {}, None


def _position(case: dict[str, Any]) -> int:
    return int(case["n"] if case["series"][1] == "N" else case["budget"])


def _figure(series: str, points: Points, case: dict[str, Any], run: Run, path: Path) -> None:
    import matplotlib.pyplot as plt

    axis, quantities = PANELS[series]
    figure, panels = plt.subplots(1, len(quantities), figsize=(11, 4.4), layout="constrained")
    for panel, quantity in zip(panels, quantities, strict=True):
        label, value = QUANTITIES[quantity]
        for name, row_points in points.items():
            x, y = [p for p, _ in row_points], [value(row) for _, row in row_points]
            ours = row_points[0][1].kind == "ours"
            panel.plot(
                x, y, "o-", color=COLOURS.get(name), linewidth=2.4 if ours else 1.4, label=row_points[0][1].title
            )
        panel.set(xscale="log", yscale="log", xlabel=axis, ylabel=label)
        panel.grid(True, which="both", alpha=0.25)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)), frameon=False)
    figure.suptitle(_title(series, case, run))
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _title(series: str, case: dict[str, Any], run: Run) -> str:
    m = run.machine
    where = m["gpu"]["name"] if run.device == "cuda" and m["gpu"] else f"{m['cpu']}, {run.threads} threads"
    fixed = {
        "growth-n": f"CRAIG with the number of samples, k = {case['budget'] / case['n']:.0%} of N",
        "growth-k": f"CRAIG with the budget, N = {case['n']:,}",
        "matching-k": f"GradMatch with the budget, N = {case['n']:,}",
    }
    return f"{fixed[series]}, C = {case['classes']}, D = {case['width']}\n{where}, commit {run.commit['sha']}"
