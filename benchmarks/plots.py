"""Plots next to the results files: how time and memory grow with N and with k, and matching with k."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

from acs_fast.benchmark import Row, Run
from benchmarks.ops.cases import LIMITS

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
OURS = {"ours-cpu": "#c1121f", "ours-cuda": "#c1121f", "ours-triton": "#e85d04", "ours-reference": "#f4a6a0"}
OTHERS = ("#1d3557", "#2a9d8f", "#8d99ae", "#7b2cbf", "#6c584c")


def draw(runs: list[Run], folder: Path) -> list[Path]:
    """One PNG for each series that has two points or more, and one for time against memory."""
    images = []
    for run in runs:
        rows = [row for row in run.rows if row.opponent in LIMITS and row.ok]
        if len(rows) > 1:
            images.append(_memory_curve(rows, run, folder / f"memory-{run.device}.png"))
    for series in PANELS:
        points, case, run = collect(runs, series)
        if run is not None and max((len(p) for p in points.values()), default=0) > 1:
            path = folder / f"{series}-{run.device}.png"
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
    from matplotlib.figure import Figure

    axis, quantities = PANELS[series]
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    panels = figure.subplots(1, len(quantities))
    for panel, quantity in zip(panels, quantities, strict=True):
        label, value = QUANTITIES[quantity]
        others = cycle(OTHERS)
        for name in sorted(points, key=case["opponents"].index):
            ours, title = name in OURS, points[name][0][1].title
            x, y = [p for p, _ in points[name]], [value(row) for _, row in points[name]]
            colour = OURS[name] if ours else next(others)
            panel.plot(x, y, "o-", color=colour, linewidth=2.4 if ours else 1.4, label=title)
        panel.set(xscale="log", yscale="log", xlabel=axis, ylabel=label)
        panel.grid(True, which="both", alpha=0.25)
        _plain_ticks(panel, sorted({p for row_points in points.values() for p, _ in row_points}))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)), frameon=False)
    figure.suptitle(_title(series, case, run))
    figure.savefig(path, dpi=130)


def _memory_curve(rows: list[Row], run: Run, path: Path) -> Path:
    """Seconds against the peak above the inputs, one point for each limit."""
    from matplotlib.figure import Figure

    memory, time = (QUANTITIES[name] for name in ("memory", "time"))
    points = sorted((memory[1](row), time[1](row), row.title.rpartition(", ")[2]) for row in rows)
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    panel = figure.subplots()
    panel.plot([x for x, _, _ in points], [y for _, y, _ in points], "o-", color=OURS["ours-cpu"], linewidth=2.4)
    for x, y, limit in points:
        panel.annotate(limit, (x, y), textcoords="offset points", xytext=(6, 6))
    panel.set(xlabel=memory[0], ylabel=time[0], ylim=(0, None))
    panel.grid(True, alpha=0.25)
    case = next(case for case in run.cases if case["name"] == rows[0].case)
    figure.suptitle(f"{case['title']}\n{case['size']}, commit {run.commit['sha']}")
    figure.savefig(path, dpi=130)
    return path


def _plain_ticks(panel: Any, positions: list[int]) -> None:
    """Ticks where something was measured, and numbers instead of powers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    panel.set_xticks(positions, [f"{x:,}" for x in positions])
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    for ticks in (panel.xaxis, panel.yaxis):
        ticks.set_minor_formatter(NullFormatter())


def _title(series: str, case: dict[str, Any], run: Run) -> str:
    m = run.machine
    where = m["gpu"]["name"] if run.device == "cuda" and m["gpu"] else f"{m['cpu']}, {run.threads} threads"
    fixed = {
        "growth-n": f"CRAIG with the number of samples, k = {case['budget'] / case['n']:.0%} of N",
        "growth-k": f"CRAIG with the budget, N = {case['n']:,}",
        "matching-k": f"GradMatch with the budget, N = {case['n']:,}",
    }
    return f"{fixed[series]}, C = {case['classes']}, D = {case['width']}\n{where}, commit {run.commit['sha']}"
