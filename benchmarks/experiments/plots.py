"""Plots of the experiments beside their results files, with 95 % confidence intervals over seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.experiments.results import Interval, Results, clean, error, mean, robust, seconds

COLOURS = ("#c1121f", "#e85d04", "#7b2cbf", "#2a9d8f", "#1d3557", "#6c584c", "#8d99ae", "#588157", "#b5179e", "#000000")
MARKERS = "os^DvPX<*"  # one fewer than colours, so that the pairs repeat late


def draw(results: Results, stem: str, folder: Path) -> list[Path]:
    """The pictures of an experiment; none while nothing has finished."""
    if not any(r.result for r in results.runs):
        return []
    path = folder / f"{stem}.png"
    if results.experiment == "E1":
        return [_scatter(results, path, seconds, "seconds of attacks, steps and selections", robust_percent)]
    return [_panels(results, path)]


def error_against_speedup(results: Results, path: Path) -> Path | None:
    """Robust test error against the speed-up over full training; None without full training."""
    full = mean(results.reference(results.full, ""), seconds)
    if full is None:
        return None
    label = "speed-up over full training (attacks, steps and selections)"
    return _scatter(results, path, lambda r: full.mean / seconds(r), label, robust_error)


def robust_percent(result: dict[str, Any]) -> float | None:
    """Robust accuracy, %"""
    return robust()(result)


def robust_error(result: dict[str, Any]) -> float | None:
    """Robust test error, %"""
    found = robust()(result)
    return None if found is None else 100.0 - found


def _scatter(
    results: Results, path: Path, across: Callable[[dict[str, Any]], float], label: str,
    up: Callable[[dict[str, Any]], float | None],
) -> Path:  # fmt: skip
    """A line per method through its groups; the reference as a level with its interval."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9.5, 5.6), layout="constrained")
    for i, (method, points) in enumerate(_series(results, across, up).items()):
        x, y = [p[0] for p in points], [p[1].mean for p in points]
        style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "capsize": 3}
        axes.errorbar(x, y, yerr=[p[1].bar for p in points], linewidth=1.3, markersize=6, label=method, **style)
    _level(axes, mean(results.reference(results.full, ""), up))
    axes.set(xscale="log", xlabel=label, ylabel=up.__doc__)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}")
    axes.set_title(_title(results, path.stem.partition("-")[0]), fontsize=10)
    axes.grid(alpha=0.3, which="both")
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def _series(
    results: Results, across: Callable[[dict[str, Any]], float], up: Callable[[dict[str, Any]], float | None]
) -> dict[str, list[tuple[float, Interval]]]:
    """By method: (mean position, interval), from left to right."""
    series: dict[str, list[tuple[float, Interval]]] = {}
    for group in results.groups:
        for label in results.labels(group):
            records = results.of(label, group)
            place, height = mean(records, across), mean(records, up)
            if place is not None and height is not None:
                series.setdefault(label, []).append((place.mean, height))
    return {label: sorted(points, key=lambda p: p[0]) for label, points in series.items()}


def _panels(results: Results, path: Path) -> Path:
    """A panel per group: robust accuracy above, with full training as a level; below the gradient error.

    Where a candidate is judged by what it ends with, the clean accuracy stands below.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    groups = [g for g in results.groups if any(results.of(label, g) for label in results.labels(g))]
    groups = [g for g in groups if g] or groups
    below = (clean(), "clean accuracy, %") if results.candidate else (error, "gradient error")
    size = (max(6.0, 3.4 * len(groups)), 6.4)
    figure, grid = plt.subplots(2, len(groups), figsize=size, layout="constrained", squeeze=False, sharex="col")
    for column, group in enumerate(groups):
        labels = [label for label in results.labels(group) if results.of(label, group)]
        for row, (measure, name) in enumerate(((robust(), "robust accuracy, %"), below)):
            panel = grid[row][column]
            _points(panel, results, group, labels, measure)
            panel.grid(alpha=0.3)
            panel.set_ylabel(name if not column else "")
            if measure is not error:
                _level(panel, mean(results.reference(results.full, group), measure))
        grid[0][column].set_title(group or "all", fontsize=10)
    figure.suptitle(_title(results, results.experiment), fontsize=10)
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def _level(panel: Any, level: Interval | None) -> None:
    """Full training as a grey line with its interval."""
    if level is not None:
        panel.axhline(level.mean, color="grey", linewidth=0.8)
        panel.axhspan(level.mean - level.bar, level.mean + level.bar, color="grey", alpha=0.12)


def _points(panel: Any, results: Results, group: str, labels: list[str], measure: Any) -> None:
    """Points with intervals at the variants' own positions, or one beside the other where they have none."""
    placed = {r.label: r.x for r in results.runs if r.group == group}
    ticks = []
    for i, label in enumerate(labels):
        x = placed[label]
        at = float(i) if x is None else x
        ticks.append((at, label if x is None else f"{x:g}"))
        found = mean(results.of(label, group), measure)
        if found is not None:
            colour = COLOURS[i % len(COLOURS)] if x is None else COLOURS[0]
            panel.errorbar(at, found.mean, yerr=found.bar, fmt="o", capsize=4, color=colour)
    by_name = all(placed[label] is None for label in labels)
    turned = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"} if by_name else {}
    panel.set_xticks([t for t, _ in ticks], [name for _, name in ticks], fontsize=8, **turned)


def _title(results: Results, name: str) -> str:
    seeds = sorted({r.seed for r in results.runs if r.result is not None})
    what = "bars: 95 % confidence intervals; grey: full training"
    return f"{name}: {results.title}\n{results.data}, {len(seeds)} seeds, {what}"
