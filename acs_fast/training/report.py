"""A comparison as a table, a file and a picture."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from acs_fast._util.columns import columns
from acs_fast.training import checkpoint
from acs_fast.training.comparison import Row
from acs_fast.training.config import METHODS, RunConfig
from acs_fast.training.machine import machine_and_versions

COLUMNS = ("method", "clean %", "robust %", "training s", "selection s", "speed-up", "gradient error")


def table(rows: list[Row]) -> str:
    """The rows as text, aligned, one line a method."""
    return columns([COLUMNS, *(_cells(row) for row in rows)])


def notes(rows: list[Row], config: RunConfig, data: str) -> str:
    """The meaning of the columns, in the terms of this run."""
    seeds = rows[0].seeds
    tested, averaged = f"at most {config.test_limit}", " (averaged weights)" if config.ema else ""
    spread = f"mean and standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    lines = [
        f"{data}, {config.objective}, eps {config.radius:.4g}, fraction {config.fraction:g}; {spread}.",
        f"clean, robust: test accuracy of the best checkpoint by validation{averaged}; robust under PGD-50, 10 "
        f"restarts, on {tested} test images.",
        "seconds: median over the runs; speed-up: those of the full run over those of the method, training and "
        "selection together.",
        "gradient error: |weighted coreset gradient - full gradient| / |full gradient|, last layer, mean over "
        "selections.",
    ]
    filled = [f"{r.method} {r.filled:.0f}" for r in rows if r.filled]
    if filled:
        lines.append(
            f"samples added by the fill policy, since matching could use no more (per run): {', '.join(filled)}."
        )
    fractions = [f"{r.method} {r.break_even:.2f}" for r in rows if r.break_even is not None and r.selection_s]
    if fractions:
        lines.append(
            "break-even: the fraction below which a coreset epoch and its share of the selection cost less than a full "
            f"epoch (below 0: never): {', '.join(fractions)}."
        )
    backends = {r.method: r.backend for r in rows if r.backend not in (None, "none")}
    if backends:
        lines.append(f"selection backend: {', '.join(f'{m} {b}' for m, b in backends.items())}.")
    return "\n".join(lines)


def write(
    rows: list[Row], results: list[dict[str, Any]], config: RunConfig, data: str, folder: Path, device: torch.device
) -> list[Path]:
    """report.txt, report.json and, with matplotlib, report.png; returns what was written."""
    text, file, picture = (folder / f"report.{kind}" for kind in ("txt", "json", "png"))
    checkpoint.write_bytes(text, f"{table(rows)}\n\n{notes(rows, config, data)}\n".encode())
    content = {
        "config": config.as_dict(), **machine_and_versions(device), "rows": [asdict(r) for r in rows], "runs": results,
    }  # fmt: skip
    checkpoint.write_json(file, content)
    written = [text, file]
    if any(r.speedup is not None for r in rows) and draw(rows, config, data, picture):
        written.append(picture)
    return written


def draw(rows: list[Row], config: RunConfig, data: str, path: Path) -> bool:
    """Robust error against speed-up; False when matplotlib is missing."""
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.5, 5.2), layout="constrained")
    markers = dict(zip(METHODS, itertools.cycle("s^oDvXPph*<>dH8")))
    for row in rows:
        if row.speedup is None:
            continue
        axes.errorbar(
            row.speedup, 100.0 - row.robust[0], yerr=row.robust[1], fmt=markers[row.method], markersize=9, capsize=4,
            label=f"{row.method}: {METHODS[row.method]}",
        )  # fmt: skip
        axes.annotate(row.method, (row.speedup, 100.0 - row.robust[0]), (7, 6), textcoords="offset points", fontsize=9)
    axes.margins(x=0.13)
    axes.set_xlabel("Speed-up over training on the full data (training and selection time)")
    axes.set_ylabel("Robust test error under PGD-50, 10 restarts (%)")
    bars = f", bars: standard deviation over {rows[0].seeds} seeds" if rows[0].seeds > 1 else ""
    axes.set_title(
        f"Adversarial training on {data} ({config.objective}, eps {config.radius:.3g}, "
        f"{100 * config.fraction:g} % of the data)\nlower right is better{bars}", fontsize=11,
    )  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8.5)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return True


def _cells(row: Row) -> tuple[str, ...]:
    spread = row.seeds > 1
    return (
        row.method,
        *(f"{mean:.1f} ± {deviation:.1f}" if spread else f"{mean:.1f}" for mean, deviation in (row.clean, row.robust)),
        f"{row.training_s:.1f}",
        f"{row.selection_s:.2f}",
        "-" if row.speedup is None else f"{row.speedup:.2f}x",
        "-" if row.gradient_error is None else f"{row.gradient_error:.3f}",
    )
