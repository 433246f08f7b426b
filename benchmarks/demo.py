"""The demo's comparison: `python -m benchmarks.demo runs/demo` keeps it in results/training after `make demo`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from acs_fast.benchmark import machine
from benchmarks import RESULTS, ROOT, markdown

COLUMNS = "| method | clean % | robust % | training, s | selection, s | speed-up | gradient error |"


def main() -> int:
    if len(sys.argv) != 2 or not (source := Path(sys.argv[1]) / "report.json").exists():
        print("usage: python -m benchmarks.demo FOLDER, of a finished `acs-fast train --compare`", file=sys.stderr)
        return 1
    content = json.loads(source.read_text()) | machine.stamp(ROOT)
    folder = RESULTS / "training"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "demo.json").write_text(json.dumps(content, indent=1) + "\n")
    shutil.copy(source.with_suffix(".png"), folder / "demo.png")
    return 0


def section(results: Path, base: Path) -> str:
    """The table, the picture, and where both come from; "" without a kept comparison."""
    path = results / "training" / "demo.json"
    if not path.exists():
        return ""
    content = json.loads(path.read_text())
    config = content["config"]
    about = (
        f"Handwritten digits, {config['objective']} with eps {config['eps']:g}, fraction {config['fraction']:g}, "
        f"{content['rows'][0]['seeds']} seeds: mean ± standard deviation of the test accuracy of the best checkpoint, "
        f"robust under PGD-50 with 10 restarts; median seconds. "
        f"{markdown.origin(content['machine'], content['commit'], content['date'])}, torch "
        f"{content['versions']['torch']}. Source: `make demo`."
    )
    table = markdown.table(COLUMNS, [_line(row) for row in content["rows"]])
    return "\n\n".join(["## The demo", table, about, markdown.image(path.with_suffix(".png"), base)])


def _line(row: dict[str, Any]) -> str:
    clean, robust = (f"{mean:.1f} ± {deviation:.1f}" for mean, deviation in (row["clean"], row["robust"]))
    error = "" if row["gradient_error"] is None else f"{row['gradient_error']:.3f}"
    times = f"{row['training_s']:.1f} | {row['selection_s']:.2f} | {row['speedup']:.2f}"
    return f"| {row['method']} | {clean} | {robust} | {times} | {error} |"


if __name__ == "__main__":
    sys.exit(main())
