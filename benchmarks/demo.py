"""The demo's comparison into the README: `python -m benchmarks.demo runs/demo` after `make demo`.

Keeps the comparison as it came in results/training, with machine and commit, and generates the README's table from it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks import machine, report

FOLDER = Path(__file__).resolve().parent / "results" / "training"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished `acs-fast train --compare`")
    parser.add_argument("--readme", type=Path, default=report.README)
    parser.add_argument("--results", type=Path, default=FOLDER)
    args = parser.parse_args(arguments)
    source = args.run / "report.json"
    if not source.exists():
        print(f"{source} is missing: run `make demo` first", file=sys.stderr)
        return 1
    content = json.loads(source.read_text())
    content |= {"machine": machine.machine(), "commit": machine.commit()}
    content["date"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
    args.results.mkdir(parents=True, exist_ok=True)
    (args.results / "demo.json").write_text(json.dumps(content, indent=1) + "\n")
    picture = args.results / "demo.png"
    shutil.copy(args.run / "report.png", picture)
    report.publish(args.readme, "demo", section(content, report.relative(picture, args.readme.resolve().parent)))
    return 0


def section(content: dict[str, Any], picture: str) -> str:
    """The table, the picture, and where both come from."""
    config, m, commit = content["config"], content["machine"], content["commit"]
    lines = [
        "| method | clean % | robust % | training, s | selection, s | speed-up | gradient error |",
        "|---|---|---|---|---|---|---|",
        *(_line(row) for row in content["rows"]),
    ]
    about = (
        f"Handwritten digits, {config['objective']} with eps {config['eps']:g}, fraction {config['fraction']:g}, "
        f"{content['rows'][0]['seeds']} seeds: mean ± standard deviation of the test accuracy of the best checkpoint, "
        f"robust under PGD-50 with 10 restarts; median seconds. Measured {content['date'][:10]} at commit "
        f"{commit['sha']}{' with local changes' if commit['dirty'] else ''} on {m['cpu']}, {m['cores']} cores, torch "
        f"{content['versions']['torch']}. Source: `make demo`, [results](benchmarks/results/training/demo.json)."
    )
    return "\n".join([*lines, "", about, "", f"![robust error against speed-up]({picture})"])


def _line(row: dict[str, Any]) -> str:
    clean, robust = (f"{mean:.1f} ± {deviation:.1f}" for mean, deviation in (row["clean"], row["robust"]))
    error = "" if row["gradient_error"] is None else f"{row['gradient_error']:.3f}"
    times = f"{row['training_s']:.1f} | {row['selection_s']:.2f} | {row['speedup']:.2f}"
    return f"| {row['method']} | {clean} | {robust} | {times} | {error} |"


if __name__ == "__main__":
    sys.exit(main())
