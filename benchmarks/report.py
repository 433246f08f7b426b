"""Tables and plots from results files, into the README between its markers: `python -m benchmarks.report`.

Nothing in them is typed by hand. Each case is taken from the newest results file that has it.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks import bars, data, engine_table, machine, plots, results_file
from benchmarks.gpu import report as gpu_report
from benchmarks.results_file import Row, Run

README = machine.ROOT / "README.md"
DEVICES = ("cpu", "cuda")
HEADER = "| | time, s (p20 to p80) | runs | time / our fastest | memory, GiB | {quality} |\n|---|---|---|---|---|---|"
QUALITY = {"craig": "objective", "greedy": "objective", "distances": "largest error", "matching": "gradient error"}
FIELD = {"craig": "objective", "greedy": "objective", "distances": "max_error", "matching": "gradient_error"}

INPUTS = "Inputs: " + " ".join((data.__doc__ or "").split())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=results_file.FOLDER, help="folder of results files")
    parser.add_argument("--readme", type=Path, default=README)
    args = parser.parse_args(arguments)
    found = 0
    for device in DEVICES:
        runs = newest(args.results, device)
        if runs:
            found += 1
            images = plots.draw(runs, args.results, device)
            publish(args.readme, device, section(runs, images, args.readme.resolve().parent))
    text = gpu_report.section(args.results / "gpu")
    if text is not None:
        found += 1
        publish(args.readme, "gpu", text)
    if (args.results / "engine").is_dir() and (runs := newest(args.results / "engine", "cpu")):
        found += 1
        publish(args.readme, "engine", engine_section(runs))
    if not found:
        print(f"no results files in {args.results}: run `acs-fast bench` first", file=sys.stderr)
    return 0 if found else 1


def newest(folder: Path, device: str) -> list[Run]:
    """Runs, newest first, each reduced to the cases that no newer one has; quick runs do not count."""
    runs = [results_file.read(path) for path in sorted(folder.glob("*.json"))]
    seen: set[str] = set()
    kept = []
    for run in sorted((r for r in runs if r.device == device and not r.quick), key=lambda r: r.date, reverse=True):
        measured = set(run.finished)
        cases = [case for case in run.cases if case["name"] in measured - seen]
        seen |= measured
        names = {case["name"] for case in cases}
        if cases:
            kept.append(replace(run, cases=cases, rows=[row for row in run.rows if row.case in names]))
    return kept


def section(runs: list[Run], images: list[Path], base: Path) -> str:
    """What stands between the markers: the bars and the plots, and every table folded in below."""
    pictures = [f"![{image.stem}]({relative(image, base)})" for image in images]
    verdicts = [verdict for run in runs for verdict in bars.verdicts(run)]
    shown = [bars_table(verdicts)] if verdicts else []
    rest = folded("Every case, with the peers, and where it was measured", tables(runs))
    return "\n\n".join([*shown, *pictures, rest])


def folded(summary: str, text: str) -> str:
    """Markdown that a reader opens with a click."""
    return f"<details>\n<summary>{summary}</summary>\n\n{text}\n\n</details>"


def engine_section(runs: list[Run]) -> str:
    """The training steps: bars, tables, and where they were measured."""
    verdicts = [verdict for run in runs for verdict in engine_table.verdicts(run)]
    tables = [table for run in runs for table in engine_table.tables(run)]
    rest = "\n\n".join([*tables, engine_table.NOTES, *(footer(run) for run in runs)])
    return f"{bars_table(verdicts)}\n\n{folded('Every contender, and where it was measured', rest)}"


def tables(runs: list[Run]) -> str:
    """Markdown: a table for each case that is no point of a plot, then where it was measured."""
    parts = []
    for run in runs:
        for case in run.cases:
            if not (case["series"] or ("",))[0].startswith("growth"):
                parts.append(case_table(case, run.of_case(case["name"])))
    parts += [INPUTS, *(footer(run) for run in runs)]
    return "\n\n".join(parts)


def bars_table(verdicts: list[bars.Verdict]) -> str:
    words = {True: "yes", False: "**no**", None: "?"}
    lines = ["| work | wanted | measured | met |", "|---|---|---|---|"]
    return "\n".join(lines + [f"| {v.title} | {v.wanted} | {v.found} | {words[v.met]} |" for v in verdicts])


def case_table(case: dict, rows: list[Row]) -> str:
    order = {name: i for i, name in enumerate([*case["opponents"], *case["not_run"]])}
    rows = sorted(rows, key=lambda row: order[row.opponent])
    ours = bars.fastest(rows, "ours")
    lines = [f"**{case['title']}** ({case['name']}: {case['size']})", "", HEADER.format(quality=QUALITY[case["task"]])]
    lines += [_line(case, row, ours) for row in rows]
    notes = sorted({f"{row.title}: {row.note}" for row in rows if row.note and row.status != "not run"})
    return "\n".join([*lines, *([""] if notes else []), *(f"{note}.  " for note in notes)])


def _line(case: dict, row: Row, ours: Row | None) -> str:
    if not row.ok:
        return f"| {row.title} | {row.status}: {row.reason} | | | | |"
    spread = f" ({_number(row.percentile(20))} to {_number(row.percentile(80))})" if len(row.seconds) > 1 else ""
    ratio = _number(row.median / ours.median) if ours and row.kind != "control" else ""
    memory = f"{(row.peak_bytes or 0) / 2**30:.2f}"
    quality = f"{row.quality[FIELD[case['task']]]:.6g}" if FIELD[case["task"]] in row.quality else ""
    if "gradient_error_without_negative" in row.quality:
        usable, negative = row.quality["gradient_error_without_negative"], row.quality["negative"]
        quality += f"; {_number(usable)} without its {negative:.0f} negative weights"
    runs = f"{len(row.seconds)}" + (" (cold)" if row.cold else "")
    return f"| {row.title} | {_number(row.median)}{spread} | {runs} | {ratio} | {memory} | {quality} |"


def _number(x: float) -> str:
    """Three digits, plain."""
    return f"{x:.0f}" if x >= 100 else f"{x:.3g}" if x >= 1e-3 else f"{x:.1e}"


def footer(run: Run) -> str:
    """Where, with what, from which commit and when the tables above were measured."""
    m, v, c = run.machine, run.versions, run.commit
    gpu = f", {m['gpu']['name']} with {m['gpu']['memory_gib']} GiB" if m["gpu"] else ""
    build = v.get("build")
    named = ", ".join(f"{name} {version}" for name, version in v.items() if version and name != "build")
    text = build if isinstance(build, str) else ", ".join(f"{k} {x}" for k, x in (build or {}).items())
    lines = [
        f"Measured {run.date[:10]} at commit {c['sha']} of {c['date']}{' with local changes' if c['dirty'] else ''}, "
        f"after {_tests(run)}. Machine: {m['cpu']} ({m['simd']}), {m['cores']} cores, "
        f"{m['memory_gib']} GiB{gpu}, {run.threads} threads. Versions: {named}.",
        f"Compiled module: {text}." if text else "Without the compiled module.",
        f"Cases: {', '.join(case['name'] for case in run.cases)}"
        + ("." if run.complete else " (this run was interrupted; what it had finished is shown)."),
    ]
    return "\n".join(lines)


def _tests(run: Run) -> str:
    """What had passed before."""
    if not run.tests:
        return "no tests"
    count = re.search(r"\d+ passed", run.tests)
    return f"{run.tests.partition(':')[0]} ({count[0] if count else 'passed'})"


def publish(readme: Path, name: str, text: str, kind: str = "benchmarks") -> None:
    """Put a section between the README's markers, or print it where there are none."""
    content = readme.read_text() if readme.exists() else ""
    updated = replace_section(content, name, text, kind)
    if updated is None:
        print(f"{readme} has no <!-- {kind}:{name} --> ... <!-- /{kind}:{name} --> markers", file=sys.stderr)
        print(text)
    elif updated != content:
        readme.write_text(updated)


def replace_section(content: str, name: str, text: str, kind: str = "benchmarks") -> str | None:
    """The README with `text` between the markers of that kind and name; None when it has none."""
    start, end = f"<!-- {kind}:{name} -->", f"<!-- /{kind}:{name} -->"
    head, opened, rest = content.partition(start)
    _, closed, tail = rest.partition(end)
    return f"{head}{start}\n{text}\n{end}{tail}" if opened and closed else None


def relative(path: Path, base: Path) -> str:
    """How a README in `base` refers to a file."""
    path = path.resolve()
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()


if __name__ == "__main__":
    sys.exit(main())
