"""Tables and plots of the experiments, from their results files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acs_fast.benchmark import read as read_run
from benchmarks import bars, markdown
from benchmarks.experiments import plots
from benchmarks.experiments.results import (
    Measure,
    Results,
    accuracy,
    collapsed,
    cost,
    effective_size,
    error,
    mean,
    paired,
    rare,
    read,
    robust,
    samples,
    steps,
    variance,
)
from benchmarks.experiments.verdicts import verdicts

COLUMNS: dict[str, tuple[Measure, str, bool]] = {  # heading: figure, format, with its interval
    "robust, %": (robust, ".1f", True),
    "robust, last weights": (accuracy("robust", "last"), ".1f", True),
    "robust, last EMA": (accuracy("robust", "average"), ".1f", True),
    "clean, %": (accuracy("clean"), ".1f", True),
    "balanced robust, %": (accuracy("balanced", "average"), ".1f", True),
    "rare kinds robust, %": (rare, ".1f", True),
    "worst kind robust, %": (accuracy("worst", "average"), ".1f", True),
    "clean, last EMA": (accuracy("clean", "average"), ".1f", True),
    "AutoAttack, balanced": (accuracy("autoattack", "average"), ".1f", True),
    "samples": (samples, ",.0f", False),
    "steps": (steps, ",.0f", False),
    "effective size": (effective_size, ",.0f", False),
    "CPU, s": (lambda result: result["seconds"].get("cpu"), ".1f", False),
    "training, s": (lambda result: float(result["seconds"]["training"]), ".1f", False),
    "selection, s": (lambda result: float(result["seconds"]["selection"]), ".2f", False),
    "gradient error": (error, ".3f", False),
    "gradient variance": (variance, ".1e", False),
}
SAME = "Speed-ups are over full training in the same engine"
STEP = ("engine-pgd", "ours-channels-last", "published")


def sections(folder: Path, base: Path) -> list[str]:
    """One for every results file of the folder, with its plot; `base` is where the document will be."""
    return [
        section(results := read(path), plots.draw(results, path.with_suffix(".png")), folder.parent / "step", base)
        for path in sorted(folder.glob("E*.json"))
    ]


def section(results: Results, picture: Path | None, timed: Path, base: Path) -> str:
    """Question, bars and picture, and the table folded in below."""
    whole = "\n\n".join([table(results), *notes(results, timed)])
    parts = [
        f"## {results.experiment}: {results.title}\n\n{results.question}",
        bars.table(verdicts(results)),
        markdown.image(picture, base) if picture else "",
        markdown.folded("Every method with intervals, and how it was measured", whole),
    ]
    return "\n\n".join(part for part in parts if part)


def table(results: Results) -> str:
    """A line per variant, under a line per group; only what has finished runs, and columns with figures."""
    columns = [name for name, (measure, _, _) in COLUMNS.items() if mean(results.runs, measure) is not None]
    last = "speed-up" if results.threshold is None else "candidate's lead"
    lines: list[str] = []
    for group in results.groups:
        rows = [_line(results, label, group, columns) for label in results.labels(group) if results.of(label, group)]
        lines += [f"| *{group}* |{' |' * (len(columns) + 2)}"] * bool(rows and group) + rows
    return markdown.table(markdown.line(["method", *columns, last, "seeds"]), lines)


def _line(results: Results, label: str, group: str, columns: list[str]) -> str:
    records = results.of(label, group)
    overfitted = sum(collapsed(r.result) for r in records if r.result is not None)
    cells = [f"{label} (collapsed: {overfitted} of {len(records)})" if overfitted else label]
    for measure, spec, with_interval in (COLUMNS[name] for name in columns):
        found = mean(records, measure)
        cells.append("" if found is None else f"{found:{spec}}" if with_interval else f"{found.mean:{spec}}")
    cells += [_gain(results, label, group), str(len(records))]
    return markdown.line(cells)


def _gain(results: Results, label: str, group: str) -> str:
    """How much faster than full training; in an experiment with a plan, by how many points the candidate leads."""
    records = results.of(label, group)
    if results.threshold is not None:
        lead = paired(results.of(results.candidate, group), records, accuracy(*results.figure))
        return "" if lead is None or label == results.candidate else f"{lead:+.1f}"
    full, own = mean(results.reference(results.full, group), cost), mean(records, cost)
    return "" if full is None or own is None else f"{full.mean / own.mean:.2f}"


def notes(results: Results, timed: Path) -> list[str]:
    """What the columns mean, what is missing, and where it was measured."""
    missing = sorted({f"{r.label}{f' ({r.group})' if r.group else ''}: {r.reason or r.state}"
                      for r in results.runs if r.result is None})  # fmt: skip
    versions = ", ".join(f"{k} {v}" for k, v in results.versions.items() if k in ("torch", "python", "acs_fast"))
    return [
        _measured_how(results),
        *([f"Not run, or not yet: {'; '.join(missing)}."] if missing else []),
        *([_published_step(timed)] if results.candidate and results.threshold is None else []),
        f"{markdown.origin(results.machine, results.commit, results.date)}, {results.processes} runs at a time with "
        f"{results.threads_per_process} thread each, methods interleaved. Versions: {versions}."
        + ("" if results.complete else " Not all runs have finished; what there is, is shown."),
    ]


def _measured_how(results: Results) -> str:
    """The settings that all runs of an experiment share, from the runs themselves."""
    runs = [r for r in results.runs if r.result is not None]
    if not runs:
        return "No run has finished yet."
    planned = [r for r in runs if r.label == results.candidate] if results.threshold is not None else []
    config = (planned or runs)[0].result["config"]
    if "passes" in config:
        return _planned_how(results, config)
    width = f" of width {config['width']}" if config["width"] else ""
    size = f"{config['limit']} images to train and validate on" if config["limit"] else "all images"
    return (
        f"{results.data}, {size}, {config['model']} network{width}, {config['epochs']} epochs (full training), batches "
        f"of {config['batch_size']}. {_as_committed(results)}With schedules of one length, coresets, random subsets "
        "and the shorter schedule train on about the same number of samples, which are counted, and not for the same "
        "time, unless the label says so. Mean and 95 % "
        "confidence interval of the mean over seeds (Student's t). Robust: test accuracy of the best weights by "
        f"validation under PGD-{config['test_steps']} with {config['test_restarts']} restart(s) on "
        f"{config['test_limit']} images, the same for all runs; the last weights, and the last averaged ones, beside "
        "it. Training: seconds of attacks and steps; selection: attack pass, gradients and the selection itself; "
        "speed-up: full training's seconds over the sum of both. Gradient error: of the weighted last-layer gradient, "
        "relative, mean over selections; where gradients come from training passes it is relative to the sum over "
        "these passes, which is smaller: compare those with one another only. Effective size: (sum of weights)^2 over "
        "their sum of squares, of the last coreset. Gradient variance: that error's "
        "expected square over redraws, at the first selection."
    )


def _as_committed(results: Results) -> str:
    """What only a plan has to tell."""
    if results.threshold is None:
        return ""
    return (
        f"Seeds {_seeds(results)}, the plan as committed in {results.plan}; candidate's lead: its mean difference by "
        "seed, of the last averaged weights. Seconds were taken on a machine that did other work too and say little. "
    )


def _seeds(results: Results) -> str:
    return f"{results.first_seed} to {results.first_seed + results.seeds - 1}"


def _planned_how(results: Results, config: dict[str, Any]) -> str:
    """The same of an experiment with a plan."""
    checked = f"; AutoAttack on 500 of them for seeds below {config['autoattack_seeds']}" * bool(
        config["autoattack_seeds"]
    )
    return (
        f"{results.data}, pools of {config['limit']} images drawn by the seed, {config['model']} network of width "
        f"{config['width']}, batches of {config['batch_size']}; seeds {_seeds(results)}, the plan as "
        f"committed in {results.plan}. A budget of {config['passes']:,} counted passes unless the label says so "
        "(forward 1, backward to the input 1, to the weights another 1; selections included), the last epoch cut where "
        "it ends. Mean and 95 % confidence interval over seeds (Student's t) of the averaged weights after the last "
        f"step: accuracy under PGD-{config['test_steps']} on {config['test_limit']} {config['tested_on']} images"
        f"{checked}. Balanced: every kind counts the same. Candidate's lead: its mean difference by seed. CPU seconds "
        "are those of the process, training and selecting; wall seconds (training, selection) were taken on a machine "
        "that did other work too and say less. Gradient error: of the weighted sum over what the selector looks "
        "at, relative. Effective size: (sum of weights)^2 over their sum of squares, of the last coreset."
    )


def _published_step(folder: Path) -> str:
    """What a speed-up leaves out: how much faster a training step is than in the published loop."""
    case, ours, published = STEP
    for run in sorted((read_run(p) for p in folder.glob("*.json")), key=lambda r: r.date, reverse=True):
        rows = {row.opponent: row for row in run.of_case(case) if row.ok}
        if not run.quick and {ours, published} <= rows.keys():
            ratio = rows[published].median / rows[ours].median
            return f"{SAME}, whose step takes {1 / ratio:.2f} times as long as one of the published loop."
    return f"{SAME}; the published loop was not timed."
