"""Tables and plots from results files: `python -m benchmarks.report` writes docs/benchmarks.md and the README's table.

Nothing in them is typed by hand. Each case is taken from the newest results file that has it.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from acs_fast.benchmark import Row, Run, data, read
from acs_fast.benchmark.rows import as_good
from benchmarks import RESULTS, ROOT, bars, demo, floors_report, markdown, plots
from benchmarks.experiments import report as experiments
from benchmarks.gpu import report as gpu

SUITES = {  # title: folder and device
    "Operators on a CPU": ("ops", "cpu"),
    "Operators on a GPU": ("ops", "cuda"),
    "Training steps": ("step", "cpu"),
    "Selection across processes": ("processes", "cpu"),
}
QUALITIES = {
    "objective": "objective",
    "gradient_error": "gradient error",
    "max_error": "largest error",
    "gain": "loss that the attack adds",
}
HEADLINES = ("craig-5k", "craig-50k", "greedy-5k", "distances-5k", "gradmatch-2k-k300", "engine-pgd", "engine-trades")
TITLE = """# Benchmarks

Written by `python -m benchmarks.report` from the files in `benchmarks/results`. `acs-fast bench` measures the fast path
against the reference path on your machine; `make bench` runs what stands here, after the tests of what it measures.
Before anything is timed, answers are compared: no speed-up is told over an opponent whose answer is better, and a row
of ours whose answer is not the reference path's has no figures."""
INPUTS = "Inputs: " + " ".join((data.__doc__ or "").split())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of results files")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--gpu", type=Path, metavar="FOLDER", help="print what `make gpu` found, and write nothing")
    args = parser.parse_args(arguments)
    if args.gpu is not None:
        return _print_gpu(args.gpu)
    base = args.docs.resolve().parent
    found = {title: newest(args.results / name, device) for title, (name, device) in SUITES.items()}
    parts = [
        f"## {title}\n\n{section(runs, args.results / SUITES[title][0], base)}" for title, runs in found.items() if runs
    ]
    held = newest(args.results / "ops" / "avx2", "cpu")
    if held:
        parts.append(f"## Operators on a CPU, held to AVX2\n\n{markdown.folded('Every case', tables(held))}")
    others = (
        floors_report.section(args.results / "ops" / "floors"), gpu.section(args.results / "gpu"),
        demo.section(args.results, base),
    )  # fmt: skip
    parts += [text for text in others if text]
    parts += experiments.sections(args.results / "experiments", base)
    if not parts:
        print(f"no results files in {args.results}: run `python -m benchmarks` first", file=sys.stderr)
        return 1
    args.docs.parent.mkdir(parents=True, exist_ok=True)
    args.docs.write_text("\n\n".join([TITLE, *parts]) + "\n")
    return 0 if markdown.publish(args.readme, headlines([run for runs in found.values() for run in runs])) else 1


def _print_gpu(folder: Path) -> int:
    text = gpu.section(folder)
    if not text:
        print(f"no gpu.json in {folder}: run `make gpu` on a machine with a GPU first", file=sys.stderr)
        return 1
    print(text)
    return 0


def newest(folder: Path, device: str) -> list[Run]:
    """Runs, newest first, each reduced to the cases that no newer one has; quick runs do not count."""
    runs = [read(path) for path in sorted(folder.glob("*.json"))]
    seen: set[str] = set()
    kept = []
    for run in sorted((r for r in runs if r.device == device and not r.quick), key=lambda r: r.date, reverse=True):
        measured = set(run.finished)
        cases = [_complete(case, run) for case in run.cases if case["name"] in measured - seen]
        seen |= measured
        names = {case["name"] for case in cases}
        if cases:
            kept.append(replace(run, cases=cases, rows=[row for row in run.rows if row.case in names]))
    return kept


def _complete(case: dict[str, Any], run: Run) -> dict[str, Any]:
    """A case with the fields that older files lack."""
    base = "published" if "objective" in case else ""
    everyone = [row.opponent for row in run.of_case(case["name"])]
    return {"series": None, "base": base, "opponents": everyone, "not_run": {}, **case}


def headlines(runs: list[Run]) -> str:
    """The README's table: our fastest against the reference path and the fastest of the others."""
    cases = {case["name"]: (case, run) for run in reversed(runs) for case in run.cases}
    lines = []
    for case, run in (cases[name] for name in HEADLINES if name in cases):
        rows = run.of_case(case["name"])
        reference = next((row for row in rows if row.opponent == "ours-reference" and row.ok), None)
        if (ours := bars.fastest(rows, "ours")) is not None:
            cells = (_against(ours, reference), _against(ours, bars.fastest(rows, *bars.RIVALS)))
            title = ours.title.removeprefix("acs_fast, ")
            lines.append(markdown.line((case["title"], f"{seconds(ours.median)} s ({title})", *cells)))
    return markdown.table("| work | acs_fast | reference path | fastest other |", lines)


def _against(ours: Row, rival: Row | None) -> str:
    if rival is None or rival is ours:
        return ""
    if not as_good(ours, rival):
        return f"{seconds(rival.median)} s for a better answer ({rival.title})"
    name = "" if rival.opponent == "ours-reference" else f" ({rival.title})"
    return f"{seconds(rival.median)} s: {rival.median / ours.median:.3g} times{name}"


def section(runs: list[Run], folder: Path, base: Path) -> str:
    """A suite's bars and plots, and every table folded in below."""
    pictures = [markdown.image(path, base) for path in plots.draw(runs, folder)]
    judged = bars.table([verdict for run in runs for verdict in bars.verdicts(run)])
    rest = markdown.folded("Every case, with all opponents, and where it was measured", tables(runs))
    return "\n\n".join([*([judged] if judged else []), *pictures, rest])


def tables(runs: list[Run]) -> str:
    """Markdown: a table for each case that is no point of a plot, then where it was measured."""
    cases = [(case, run) for run in runs for case in run.cases if not (case["series"] or [""])[0].startswith("growth")]
    parts = [case_table(case, run.of_case(case["name"])) for case, run in cases]
    synthetic = any("task" in case for case, _ in cases)
    return "\n\n".join([*parts, *([INPUTS] if synthetic else []), *(footer(run) for run in runs)])


def case_table(case: dict[str, Any], rows: list[Row]) -> str:
    """A line for each opponent, its time over that of a base: what the case names, or our fastest."""
    order = {name: i for i, name in enumerate([*case["opponents"], *case["not_run"]])}
    rows = sorted(rows, key=lambda row: order[row.opponent])
    named = next((row for row in rows if row.opponent == case.get("base") and row.ok), None)
    base = named or bars.fastest(rows, "ours")
    quality = next((name for name in QUALITIES if any(name in row.quality for row in rows)), "")
    ratio = f"speed-up over {named.title}" if named else "time / our fastest"
    head = f"| | time, s (p20 to p80) | runs | {ratio} | memory, MiB | {QUALITIES.get(quality, '')} |"
    table = markdown.table(head, [_line(row, base, named is not None, quality) for row in rows])
    notes = sorted({f"{row.title}: {row.note}.  " for row in rows if row.note and row.status != "not run"})
    title = f"**{case['title']}** ({case['name']}: {case['size']})"
    return "\n\n".join([title, table, *(["\n".join(notes)] if notes else [])])


def _line(row: Row, base: Row | None, over_base: bool, quality: str) -> str:
    if not row.ok:
        return f"| {row.title} | {row.status}: {row.reason} | | | | |"
    spread = f" ({seconds(row.percentile(20))} to {seconds(row.percentile(80))})" if len(row.seconds) > 1 else ""
    ratio = ""
    if base is not None and row.kind != "control" and as_good(*((row, base) if over_base else (base, row))):
        ratio = seconds(base.median / row.median if over_base else row.median / base.median)
    memory = "" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.0f}"
    worth = f"{row.quality[quality]:.6g}" if quality in row.quality else ""
    if "gradient_error_without_negative" in row.quality:
        usable, negative = row.quality["gradient_error_without_negative"], row.quality["negative"]
        worth += f"; {usable:.3g} without its {negative:.0f} negative weights"
    runs = f"{len(row.seconds)}" + (" (cold)" if row.cold else "")
    return markdown.line((row.title, f"{seconds(row.median)}{spread}", runs, ratio, memory, worth))


def seconds(x: float) -> str:
    """Three digits, plain."""
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}" if x >= 1e-3 else f"{x:.1e}"


def footer(run: Run) -> str:
    """Where, with what, from which commit and when the tables above were measured."""
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items() if version and name != "build")
    count = re.search(r"\d+ passed", run.tests)
    tests = f"{run.tests.partition(':')[0]} ({count[0] if count else 'passed'})" if run.tests else "no tests"
    build = run.versions.get("build")
    compiled = f"Compiled module: {', '.join(f'{k} {x}' for k, x in build.items())}." if build else ""
    rest = "" if run.complete else " The run was interrupted; what it had finished is shown."
    return (
        f"{markdown.origin(run.machine, run.commit, run.date)}, {run.threads} threads, after {tests}. "
        f"Versions: {versions}. {compiled}{rest}\nCases: {', '.join(case['name'] for case in run.cases)}."
    )


if __name__ == "__main__":
    sys.exit(main())
