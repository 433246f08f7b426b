"""The least time each GPU case can take: bytes over bandwidth, operations over rate, picks times synchronisation.

`python -m benchmarks.gpu.floors [FILE]` writes the table for assumed rates; `measure` takes measured ones.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import RESULTS, markdown
from benchmarks.gpu.cases import CASES, GpuCase

PASSES = 4.0  # N^2 entries that the touched rows of a whole run sum to, beside the one pass of the first gains
LAUNCHES = 8  # of a round of matching, of at least 2 us each, also within a graph


@dataclass(frozen=True)
class Rates:
    """Of one GPU: bytes copied (read and written) and operations per second, and seconds by event."""

    copy: float = 3.0e12
    products: dict[str, float] | None = None
    meeting: float = 1.3e-6  # blocks of a team exchange one number
    latency: float = 0.8e-6  # one dependent read of device memory

    def rate(self, precision: str) -> float:
        assumed = {"tf32x3": 494e12 / 3, "bf16": 798e12, "float64": 50e12}
        return (self.products or {}).get(precision, assumed[precision])


def distance_floor(case: GpuCase, rates: Rates) -> dict[str, float]:
    """Half of all products (the other half is their mirror image), and every distance written once."""
    operations = case.groups * case.per_group**2 * (case.classes + case.width)
    return {
        "operations": operations / rates.rate(case.precision),
        "bytes": 4.0 * case.groups * case.per_group**2 / rates.copy,
    }


def greedy_floor(case: GpuCase, rates: Rates, blocks: int = 132) -> dict[str, float]:
    """The passes over the matrix; a pick needs two meetings for large groups, else one, and three dependent reads."""
    meetings = 0 if case.groups > blocks else (2 if case.per_group > 16384 else 1)
    rounds = -(-case.groups // blocks) if case.groups > blocks else 1
    return {
        "bytes": 4.0 * (1.0 + PASSES) * case.groups * case.per_group**2 / rates.copy,
        "picks": rounds * case.picks * (meetings * rates.meeting + 3.0 * rates.latency),
    }


def matching_floor(case: GpuCase, rates: Rates) -> dict[str, float]:
    """Each pick reads the factors of all samples, those of the atoms twice, and twice a triangle of their size.

    Atoms and rows of the triangle are, over the whole run, half as many as picks.
    """
    atoms = case.groups * case.picks / 2.0
    factors = 4.0 * (case.samples + 2.0 * atoms) * (case.classes + case.width)
    triangles = 2.0 * 8.0 * case.groups * case.picks**2 / 6.0
    operations = 2.0 * (case.samples + 2.0 * atoms) * case.classes * case.width
    return {
        "bytes": case.picks * (factors + triangles) / rates.copy,
        "operations": case.picks * operations / rates.rate("float64"),
        "picks": case.picks * LAUNCHES * 2.0e-6,
    }


def floor_seconds(case: GpuCase, rates: Rates) -> dict[str, float]:
    """Floors of the stages of a case, in seconds: within a stage the larger of bytes and operations, plus the picks."""

    def bound(parts: dict[str, float]) -> float:
        return max(parts.get("bytes", 0.0), parts.get("operations", 0.0)) + parts.get("picks", 0.0)

    if case.algorithm == "gradmatch":
        return {"matching": bound(matching_floor(case, rates))}
    return {"distances": bound(distance_floor(case, rates)), "greedy": bound(greedy_floor(case, rates))}


def table(rates: Rates) -> str:
    """The floors of all cases as a Markdown table, in milliseconds."""
    lines = []
    for case in CASES:
        stages = (
            {"matching": matching_floor(case, rates)}
            if case.algorithm == "gradmatch"
            else {"distances": distance_floor(case, rates), "greedy": greedy_floor(case, rates)}
        )
        totals = floor_seconds(case, rates)
        for stage, parts in stages.items():
            cells = [f"{1e3 * parts[k]:.2f}" if k in parts else "" for k in ("bytes", "operations", "picks")]
            lines.append(f"| {case.name} | {stage} | {' | '.join(cells)} | {1e3 * totals[stage]:.2f} | |")
        lines.append(f"| {case.name} | all | | | | {1e3 * sum(totals.values()):.2f} | {1e3 * case.bar_seconds:.0f} |")
    return markdown.table("| case | stage | bytes, ms | operations, ms | picks, ms | floor, ms | bar, ms |", lines)


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS / "gpu-floors.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    rates = Rates()
    assumed = ", ".join(f"{p} {rates.rate(p) / 1e12:.0f} TFLOP/s" for p in ("tf32x3", "bf16", "float64"))
    text = (
        "# Floors of the GPU cases: predictions\n\n"
        f"For one H100 with a copy bandwidth of {rates.copy / 1e12:.1f} TB/s (read and written) and products at "
        f"{assumed}; {1e6 * rates.meeting:.1f} us for blocks to exchange a number and {1e6 * rates.latency:.1f} us for "
        "a dependent read. Written by `python -m benchmarks.gpu.floors`; `python -m benchmarks.gpu.measure` writes the "
        "same table from measured rates, with measured times beside it.\n\n"
    )
    path.write_text(text + table(rates) + "\n")
    print(path)


if __name__ == "__main__":
    main()
