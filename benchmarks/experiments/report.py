"""Tables and plots of the experiments, from their results files."""

from __future__ import annotations

from pathlib import Path

from benchmarks import markdown
from benchmarks.experiments import engine, plots
from benchmarks.experiments.results import (
    Interval,
    Measure,
    Results,
    clean,
    collapsed,
    error,
    mean,
    read,
    robust,
    seconds,
    variance,
)
from benchmarks.experiments.verdicts import verdicts

HEADER = (
    "| method | robust, % | robust, last weights | robust, last EMA | clean, % | training, s | selection, s | speed-up "
    "| gradient error | gradient variance | seeds |\n|---|---|---|---|---|---|---|---|---|---|---|"
)
WORDS = {True: "**pass**", False: "**fail**", None: "not judged"}


def sections(folder: Path, base: Path) -> list[str]:
    """One for every results file of the folder, with its plots."""
    parts = []
    for path in sorted(folder.glob("E*.json")):
        results = read(path)
        images = plots.draw(results, path.stem, folder)
        if results.experiment == "E1":  # E4 has no runs of its own
            figure = plots.error_against_speedup(results, folder / f"{path.stem.replace('E1', 'E4')}.png")
            images += [figure] if figure else []
        parts.append(section(results, [markdown.image(image, base) for image in images]))
    return parts


def section(results: Results, pictures: list[str]) -> str:
    """What stands between the markers: question, bars and pictures, and the table folded in below."""
    whole = "\n\n".join([table(results), *notes(results)])
    parts = [
        f"## {results.experiment}: {results.title}\n\n{results.question}",
        bars(results),
        *pictures,
        markdown.folded("Every method with intervals, and how it was measured", whole),
    ]
    return "\n\n".join(part for part in parts if part)


def bars(results: Results) -> str:
    """The verdicts as a table; "" where the experiment has none."""
    judged = verdicts(results)
    lines = [f"| {v.wanted} | {v.found} | {WORDS[v.met]} |" for v in judged]
    return "\n".join(["| wanted | measured | |", "|---|---|---|", *lines]) if judged else ""


def table(results: Results) -> str:
    """A line per variant, under a line per group; only what has finished runs."""
    lines = []
    for group in results.groups:
        rows = [_line(results, label, group) for label in results.labels(group) if results.of(label, group)]
        if rows and group:
            lines.append(f"| *{group}* |" + " |" * 10)
        lines += rows
    return "\n".join([HEADER, *lines])


def _line(results: Results, label: str, group: str) -> str:
    records = results.of(label, group)
    full = mean(results.reference(results.full, group), seconds)
    own = mean(records, seconds)
    speedup = "" if full is None or own is None else f"{full.mean / own.mean:.2f}"
    cells = [
        label + _collapses(results, label, group), _cell(mean(records, robust()), ".1f"),
        _cell(mean(records, robust("last")), ".1f"), _cell(mean(records, robust("average")), ".1f"),
        _cell(mean(records, clean()), ".1f"), _plain(mean(records, _part("training")), ".1f"),
        _plain(mean(records, _part("selection")), ".2f"), speedup, _plain(mean(records, error), ".3f"),
        _plain(mean(records, variance), ".1e"), str(len(records)),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _collapses(results: Results, label: str, group: str) -> str:
    """Says how many runs ended in catastrophic overfitting."""
    records = results.of(label, group)
    found = sum(collapsed(r.result) for r in records if r.result is not None)
    return f" (collapsed: {found} of {len(records)})" if found else ""


def _part(name: str) -> Measure:
    return lambda result: float(result["seconds"][name])


def _cell(found: Interval | None, spec: str) -> str:
    return "" if found is None else f"{found:{spec}}"


def _plain(found: Interval | None, spec: str) -> str:
    return "" if found is None else f"{found.mean:{spec}}"


def notes(results: Results) -> list[str]:
    """What the columns mean, what is missing, and where it was measured."""
    missing = sorted({f"{r.label}{f' ({r.group})' if r.group else ''}: {r.reason or r.state}"
                      for r in results.runs if r.result is None})  # fmt: skip
    parts = [measured_how(results)]
    if missing:
        parts.append(f"Not run, or not yet: {'; '.join(missing)}.")
    return [*parts, engine.sentence(), footer(results)] if results.candidate else [*parts, footer(results)]


def measured_how(results: Results) -> str:
    """The settings that all runs of an experiment share, from the runs themselves."""
    config = next((r.result["config"] for r in results.runs if r.result is not None), None)
    if config is None:
        return "No run has finished yet."
    model = f"{config['model']} network" + (f" of width {config['width']}" if config["width"] else "")
    size = f"{config['limit']} images to train and validate on" if config["limit"] else "all images"
    return (
        f"{results.data}, {size}, {model}, {config['epochs']} epochs (full training), batches of "
        f"{config['batch_size']}. With schedules of one length, coresets, random subsets and the shorter schedule "
        "train on the same number of samples and not for the same time, unless the label says so. Mean and 95 % "
        "confidence interval of the mean over seeds (Student's t). Robust: test accuracy of the best weights by "
        f"validation (EMA) under PGD-{config['test_steps']} with {config['test_restarts']} restart(s) on "
        f"{config['test_limit']} images, the same for all runs; the last weights, and the last EMA weights, beside it. "
        "Training: seconds of attacks and steps; selection: attack pass, gradients and the selection itself; speed-up: "
        "full training's seconds over the sum of both. Gradient error: of the weighted last-layer gradient, relative, "
        "mean over selections; gradient variance: its expected square over redraws at the first selection, at weights "
        "that all methods share. Where gradients come from training passes, both are relative to the sum over these "
        "passes, which is smaller: compare them only with one another."
    )


def footer(results: Results) -> str:
    """Where, with what, from which commit and when."""
    m, c = results.machine, results.commit
    named = ", ".join(f"{k} {v}" for k, v in results.versions.items() if k in ("torch", "python", "acs_fast"))
    partial = "" if results.complete else " Not all runs have finished; what there is, is shown."
    return (
        f"Measured {results.date[:10]} at commit {c['sha']}{' with local changes' if c['dirty'] else ''} on "
        f"{m['cpu']}, {m['cores']} cores, {results.processes} runs at a time with "
        f"{results.threads_per_process} thread each, methods interleaved. Versions: {named}.{partial}"
    )
