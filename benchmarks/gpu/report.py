"""The GPU's results as a table: `python -m benchmarks.gpu.report [FOLDER]` prints it.

FOLDER is where `make gpu` has written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.gpu import campaign, predictions

HEADER = "| case | stage | floor, ms | predicted, ms | median, ms | p20 to p80, ms | times the floor | bar, ms | met |"


def table(result: dict[str, Any]) -> str:
    """Floors and times of every case side by side."""
    return "\n".join([HEADER, "|" + "---|" * 9, *(line for row in result["rows"] for line in _lines(row))])


def _lines(row: dict[str, Any]) -> list[str]:
    name = row["case"]["name"]
    if "error" in row:
        return [f"| {name} | {row['error']} | | | | | | | |"]
    bounds = {**row["floor_s"], "all": sum(row["floor_s"].values())}
    lines, plain, predicted = [], row["times"].get("plain products"), predictions.load().get(name, {})
    for stage, t in row["times"].items():
        low, median = bounds.get(stage), t["median_s"]
        floor, ratio = ("", "") if low is None else (f"{1e3 * low:.2f}", f"{median / low:.1f}")
        bar, met = "", ""
        if stage == "all":
            bar_s = row["case"]["bar_seconds"]
            bar, met = f"{1e3 * bar_s:.0f}", "yes" if median <= bar_s else "**no**"
        if stage == "distances" and plain is not None:  # the rate: what a plain product takes over what they take
            share = plain["median_s"] / median
            bar, met = "60 % of plain", f"{'yes' if share >= 0.6 else '**no**'}, {100 * share:.0f} %"
        spread = f"{1e3 * t['p20_s']:.2f} to {1e3 * t['p80_s']:.2f}"
        guess = f"{1e3 * predicted[stage]:.2f}" if stage in predicted else ""
        lines.append(
            f"| {name} | {stage} | {floor} | {guess} | {1e3 * median:.2f} | {spread} | {ratio} | {bar} | {met} |"
        )
    return lines


def section(folder: Path) -> str:
    """Table and origin; "" without results."""
    path = folder / "gpu.json"
    if not path.exists():
        return ""
    result = json.loads(path.read_text())
    steps = folder / "gpu-steps.json"
    ended = json.loads(steps.read_text()) if steps.exists() else []
    state = ", ".join(f"{step['name']} {step['status']}" for step in ended if step["name"] != "measure")
    peaks = ", ".join(f"{r['case']['name']} {r['peak_bytes'] / 2**30:.1f}" for r in result["rows"] if "peak_bytes" in r)
    footer = (
        f"Measured on one {result['device']} with torch {result['torch']}, Triton {result['triton']} and CUDA "
        f"{result['cuda']}, at commit {result['commit']}: {result['kernels']}. Floors from rates measured in the same "
        f"run. Peak memory in GiB: {peaks or 'not measured'}. The other steps of `make gpu`: {state or 'not run'}."
    )
    return f"## The GPU's bars\n\n{table(result)}\n\n{footer}"


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else campaign.FOLDER
    text = section(folder)
    if not text:
        print(f"no gpu.json in {folder}: run `make gpu` on a machine with a GPU first", file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
