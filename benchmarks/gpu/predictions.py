"""What the GPU cases should take, written down before any is measured: instructions, touched rows and latencies.

`python -m benchmarks.gpu.predictions` writes predictions.json beside this file; reports print it beside measurements.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.cases import CASES, GpuCase
from benchmarks.gpu.floors import LAUNCHES, Rates, distance_floor, matching_floor

FILE = Path(__file__).with_name("predictions.json")
TILES = {"tf32x3": 64, "bf16": 128}  # rows and columns, as in `acs_fast.ops.triton.distances.tile_size`
ROUNDS = 32  # of a graph of matching, as in `acs_fast.ops.triton.gradient_matching`
SLICE, SLICE_KERNELS = 2048, 8  # samples, and kernels for each, of a sum of gradients in float64
LOADS = 8  # distances that a thread has in flight, as in greedy_gains.cuh
SMALL_ROWS, REPLICATED_ROWS = 2048, 16384  # as in greedy.h


@dataclass(frozen=True)
class Latencies:
    """Assumptions about one H100, in seconds unless said otherwise."""

    read: float = 0.8e-6  # a turn of dependent reads from L2 or device memory
    meeting: float = 1.3e-6  # a store that blocks of the team see, and the block's reduction after it
    barrier: float = 0.06e-6
    barriers: int = 6  # per pick
    clock: float = 1.7e9  # Hz
    multiprocessors: int = 132
    issues: int = 4  # warp instructions per cycle and multiprocessor
    instructions: int = 17  # per distance, read from the machine code (tests/gpu/test_machine_code.py)
    launch: float = 2.5e-6  # of a kernel of a graph, after the one before it
    rounds: float = 1.05  # of matching, per pick: some atoms leave, and some return
    efficiency: float = 0.45  # of products in a tile, of the measured rate of plain ones
    l2: float = 5.5e12  # bytes per second
    eager: float = 30e-6  # of the host, to launch a Triton kernel outside a graph, or to record it into one
    instantiation: float = 2e-6  # of a kernel of a graph
    torch_kernel: float = 6e-6  # of the host, to launch one


# Touched rows of a pick, in shares of all picks: the rows of the 10 deciles' middles, from a run on a CPU
# (softmax residuals and correlated features as in `benchmarks.gpu.work`, greedy in float32 on one group).
TOUCHED = {
    "craig-cifar10": [1, 1, 1, 1, 1, 1, 1, 3, 11, 46],
    "craig-imagenet": [1, 1, 1, 1, 1, 3, 5, 9, 15, 43],
}  # fmt: skip


def greedy_seconds(case: GpuCase, by: Latencies) -> float:
    """First gains, and picks one after the other: column, list, gains of the touched rows, meetings."""
    queued = case.groups > by.multiprocessors
    threads = 256 if case.per_group <= SMALL_ROWS else 512
    resident = by.multiprocessors * (3 if queued and threads == 256 else 1)
    team = 1 if queued else by.multiprocessors // case.groups
    rounds = -(-case.groups // resident) if queued else 1
    columns = -(-case.per_group // team)
    tiles = -(-columns // threads)
    across = (-(-columns // tiles) + 31) // 32 * 32
    deep = max(1, threads // across)
    sharing = case.per_group > REPLICATED_ROWS
    scanned = columns if sharing else case.per_group
    warps = threads // 32 * (3 if queued else 1)  # that share a multiprocessor's issue slots
    turn = by.read + LOADS * by.instructions * warps / by.issues / by.clock
    deciles = TOUCHED.get(case.name) or [round(rows * case.per_group / 5000) for rows in TOUCHED["craig-cifar10"]]
    turns = tiles * sum(-(-rows // (LOADS * deep)) for rows in deciles) / len(deciles)
    meetings = (0 if queued else 2 if sharing else 1) * by.meeting
    pick = -(-scanned // (LOADS * threads)) * by.read + turns * turn + meetings + by.barriers * by.barrier
    first = tiles * -(-case.per_group // (LOADS * deep)) * LOADS * by.instructions * warps / by.issues / by.clock
    return rounds * (first + case.picks * pick)


def traffic_seconds(case: GpuCase, rates: Rates, by: Latencies) -> tuple[float, float]:
    """Of the distances: both factors of every tile through L2, and the passes over all factors before them.

    Those are a read and a write to gather, and a read for the norms; float32 is read once more, for the means.
    """
    half = case.precision == "bf16"
    tile, row = TILES[case.precision], (2 if half else 4) * (case.classes + case.width)
    across = -(-case.per_group // tile)
    tiles = case.groups * across * (across + 1) // 2
    return tiles * 2 * tile * row / by.l2, (3 if half else 4) * case.samples * row / rates.copy


def distances_seconds(case: GpuCase, rates: Rates, by: Latencies) -> float:
    """The largest of products, L2 and what is written, after the passes over the factors."""
    parts = distance_floor(case, rates)
    through_l2, passes = traffic_seconds(case, rates, by)
    return passes + max(parts["operations"] / by.efficiency, parts["bytes"], through_l2)


def matching_seconds(case: GpuCase, rates: Rates, by: Latencies) -> float:
    """Launches one after the other, their dependent reads, and the larger of bytes and products; the graph before.

    A program of `matching_products` has one turn of reads for 32 features, for 64 atoms and for 64 rows of T; one of
    `matching_steps` about five. The first rounds are launched one by one, and then recorded, before a graph is there.
    """
    over_features, over_atoms = -(-case.width // 32), -(-case.picks // 2 // 64)
    turns = 2 * over_features + 3 * over_atoms + 2 * 5 + 2
    floor = matching_floor(case, rates)
    work = max(floor["bytes"], floor["operations"] / by.efficiency)
    before = ROUNDS * LAUNCHES * (2 * by.eager + by.instantiation)
    return before + by.rounds * (case.picks * (LAUNCHES * by.launch + turns * by.read) + work)


def surroundings_seconds(case: GpuCase, rates: Rates, by: Latencies) -> float:
    """What the public call adds: two passes that check the factors, and sums of all gradients and of those selected.

    Sums are in float64: the factors are read, written eight bytes wide and read again. Matching needs the sums of its
    groups too, before it begins.
    """
    size = 2 if case.precision == "bf16" else 4
    numbers = case.samples * (case.classes + case.width)
    summed = (2.0 if case.algorithm == "gradmatch" else 1.0) + case.share
    sums = summed * case.samples * 2.0 * case.classes * case.width / rates.rate("float64")
    launches = summed * case.samples / SLICE * SLICE_KERNELS * by.torch_kernel
    return 2.0 * numbers * size / rates.copy + max(sums + summed * numbers * (size + 16) / rates.copy, launches)


def stages(case: GpuCase, rates: Rates, by: Latencies) -> dict[str, float]:
    around = surroundings_seconds(case, rates, by)
    if case.algorithm == "gradmatch":
        operator = matching_seconds(case, rates, by)
        return {"operator": operator, "public call": operator + around}
    distances, greedy = distances_seconds(case, rates, by), greedy_seconds(case, by)
    operator = distances + greedy
    return {"distances": distances, "greedy": greedy, "operator": operator, "public call": operator + around}


def predictions() -> dict[str, Any]:
    rates, by = Rates(), Latencies()
    found = {case.name: {k: round(v, 6) for k, v in stages(case, rates, by).items()} for case in CASES}
    return {"assumed": asdict(by), "touched_rows": TOUCHED, "seconds": found}


def load() -> dict[str, dict[str, float]]:
    """Seconds by case and stage."""
    found: dict[str, dict[str, float]] = json.loads(FILE.read_text())["seconds"]
    return found


def main() -> None:
    FILE.write_text(json.dumps(predictions(), indent=1) + "\n")
    print(FILE)


if __name__ == "__main__":
    main()
