"""Several methods and seeds on the same data, each at the same budget, and their summary."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from acs_fast.training import checkpoint, processes
from acs_fast.training.config import METHODS, RunConfig
from acs_fast.training.data import Splits
from acs_fast.training.run import CHECKPOINT, RESULT, Run


@dataclass(frozen=True)
class Row:
    """A method over its seeds: mean and sample deviation of accuracies in percent, median seconds of a run."""

    method: str
    clean: tuple[float, float]
    robust: tuple[float, float]
    training_s: float
    selection_s: float
    speedup: float | None
    gradient_error: float | None
    seeds: int
    filled: float
    backend: str | None
    break_even: float | None = None


def compare(
    config: RunConfig, methods: list[str], seeds: int, splits: Splits, folder: Path, device: torch.device, quiet: bool
) -> list[dict[str, Any]]:
    """Run every method with every seed; finished runs of a former call are read, an unfinished one is resumed."""
    results = []
    for seed in range(config.seed, config.seed + seeds):
        for method in methods:
            results.append(run_one(config.with_method(method, seed), splits, folder, device, quiet))
    return results


def run_one(
    config: RunConfig, splits: Splits, folder: Path, device: torch.device, quiet: bool, kind: type[Run] = Run
) -> dict[str, Any]:
    """One run in its own sub-folder; finished, resumed or new.

    Args:
        kind: `Run`, or a subclass that measures more.
    """
    own = folder / f"{config.method}-seed{config.seed}"
    if processes.on_first((own / RESULT).exists):
        return processes.on_first(lambda: checkpoint.read_json(own / RESULT, {"config", "test", "seconds"}))
    run = kind(config, splits, own, device, show_progress=not quiet)
    if processes.on_first((own / CHECKPOINT).exists):
        run.restore()
    return run.train()


def summarise(results: list[dict[str, Any]]) -> list[Row]:
    """One row per method, in the order of METHODS."""
    by_method: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        by_method.setdefault(result["config"]["method"], []).append(result)
    full = by_method.get("full")
    full_s = statistics.median(_cost(r) for r in full) if full else None
    return [_row(m, by_method[m], full_s) for m in METHODS if m in by_method]


def _row(method: str, results: list[dict[str, Any]], full_s: float | None) -> Row:
    cost = statistics.median(_cost(r) for r in results)
    errors = [r["gradient_error"] for r in results if r["gradient_error"] is not None]
    fractions = [r["break_even_fraction"] for r in results if r.get("break_even_fraction") is not None]
    return Row(
        method=method,
        clean=_spread([100.0 * r["test"]["best"]["clean"] for r in results]),
        robust=_spread([100.0 * r["test"]["best"]["robust"] for r in results]),
        training_s=statistics.median(r["seconds"]["training"] for r in results),
        selection_s=statistics.median(r["seconds"]["selection"] for r in results),
        speedup=None if full_s is None else full_s / cost,
        gradient_error=statistics.mean(errors) if errors else None,
        seeds=len(results),
        filled=statistics.mean(r["filled"] for r in results),
        backend=results[0]["backend"],
        break_even=statistics.median(fractions) if fractions else None,
    )


def _cost(result: dict[str, Any]) -> float:
    """Seconds that the method costs: training and selection."""
    return float(result["seconds"]["training"] + result["seconds"]["selection"])


def _spread(values: list[float]) -> tuple[float, float]:
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
