"""Plots of the experiments, with 95 % confidence intervals over seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.experiments.results import Interval, Measure, Results, accuracy, cost, error, mean, rare, robust

COLOURS = ("#c1121f", "#e85d04", "#7b2cbf", "#2a9d8f", "#1d3557", "#6c584c", "#8d99ae", "#588157", "#b5179e", "#000000")
MARKERS = "os^DvPX<*"  # one fewer than colours, so that the pairs repeat late


def draw(results: Results, path: Path) -> Path | None:
    """E1 as accuracy over seconds, others as a panel for each group; None while nothing has finished."""
    if not any(r.result for r in results.runs):
        return None
    figure = _over_seconds(results) if results.experiment == "E1" else _panels(results)
    figure.savefig(path, dpi=130)
    return path


def _over_seconds(results: Results) -> Any:
    """A line per method through its groups; full training as a level with its interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 5.6), layout="constrained")
    axes = figure.subplots()
    labels = dict.fromkeys(label for group in results.groups for label in results.labels(group))
    for i, label in enumerate(labels):
        records = [results.of(label, group) for group in results.groups]
        points = sorted((mean(r, cost).mean, mean(r, robust)) for r in records if r)
        style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)], "capsize": 3}
        x, y, bars = zip(*((at, found.mean, found.bar) for at, found in points), strict=True) if points else ((),) * 3
        axes.errorbar(x, y, yerr=bars, linewidth=1.3, markersize=6, label=label, **style)
    _level(axes, mean(results.reference(results.full, ""), robust))
    axes.set(xscale="log", xlabel="seconds of attacks, steps and selections", ylabel="robust accuracy, %")
    for formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        formatter(lambda value, _: f"{value:g}")
    axes.grid(alpha=0.3, which="both")
    axes.set_title(_title(results), fontsize=10)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return figure


def _panels(results: Results) -> Any:
    """Robust accuracy above, with full training as a level; below the gradient error, or clean accuracy."""
    from matplotlib.figure import Figure

    groups = [g for g in results.groups if any(results.of(label, g) for label in results.labels(g))]
    groups = [g for g in groups if g] or groups
    kind, weights = results.figure
    said = {"robust": "robust accuracy, %", "autoattack": "balanced, under AutoAttack, %"}
    above = (accuracy(kind, weights), said.get(kind, f"{kind} robust accuracy, %"))
    below = (accuracy("clean", weights), "clean accuracy, %") if results.candidate else (error, "gradient error")
    if mean(results.runs, rare) is not None:
        below = (rare, "robust accuracy of rare kinds, %")
    figure = Figure(figsize=(max(6.0, 3.4 * len(groups)), 6.4), layout="constrained")
    grid = figure.subplots(2, len(groups), squeeze=False, sharex="col")
    for column, group in enumerate(groups):
        for row, (measure, name) in enumerate((above, below)):
            panel = grid[row][column]
            _points(panel, results, group, measure)
            panel.grid(alpha=0.3)
            panel.set_ylabel(name if not column else "", fontsize=8)
            if measure is not error:
                _level(panel, mean(results.reference(results.full, group), measure))
        grid[0][column].set_title(group or "all" * (len(groups) > 1), fontsize=10)
    figure.suptitle(_title(results), fontsize=10)
    return figure


def _points(panel: Any, results: Results, group: str, measure: Measure) -> None:
    """Points with intervals at the variants' own positions, or one beside the other where they have none."""
    placed = {r.label: r.x for r in results.runs if r.group == group and results.of(r.label, group)}
    if len(set(placed.values())) < len(placed):  # several at one position
        placed = dict.fromkeys(placed)
    ticks = []
    for i, (label, x) in enumerate(placed.items()):
        at = float(i) if x is None else x
        ticks.append((at, label if x is None else f"{x:g}"))
        if (found := mean(results.of(label, group), measure)) is not None:
            colour = COLOURS[i % len(COLOURS)] if x is None else COLOURS[0]
            panel.errorbar(at, found.mean, yerr=found.bar, fmt="o", capsize=4, color=colour)
    turned = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"} if None in placed.values() else {}
    panel.set_xticks([t for t, _ in ticks], [name for _, name in ticks], fontsize=8, **turned)


def _level(panel: Any, level: Interval | None) -> None:
    """Full training as a grey line with its interval."""
    if level is not None:
        panel.axhline(level.mean, color="grey", linewidth=0.8)
        panel.axhspan(level.mean - level.bar, level.mean + level.bar, color="grey", alpha=0.12)


def _title(results: Results) -> str:
    seeds = len({r.seed for r in results.runs if r.result is not None})
    grey = "; grey: full training" if any(results.reference(results.full, g) for g in results.groups) else ""
    return f"{results.experiment}: {results.title}\n{results.data}, {seeds} seeds; bars: 95 %{grey}"
