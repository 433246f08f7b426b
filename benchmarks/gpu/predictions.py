"""What the GPU cases should take, written down before any is measured: instructions, touched rows and latencies.

`python -m benchmarks.gpu.predictions` writes predictions.json beside this file; reports print it beside measurements.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.floors import CASES, LAUNCHES, Case, Rates, distance_floor, matching_floor

FILE = Path(__file__).with_name("predictions.json")
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


# Touched rows of a pick, in shares of all picks: the rows of the 10 deciles' middles, from a run on a CPU
# (softmax residuals and correlated features as in `benchmarks.gpu.measure`; `histogram` below made it).
TOUCHED = {
    "craig-cifar10": [1, 1, 1, 1, 1, 1, 1, 3, 11, 46],
    "craig-imagenet": [1, 1, 1, 1, 1, 3, 5, 9, 15, 43],
}  # fmt: skip


def histogram(size: int, picks: int, classes: int, width: int, seed: int = 0) -> list[int]:
    """Touched rows of a pick at 5 %, 15 %, ..., 95 % of the picks of one group, in ascending order."""
    import torch

    torch.manual_seed(seed)
    y = torch.zeros(size, dtype=torch.int64)  # one class
    r = (2.0 * torch.randn(size, classes)).softmax(1) - torch.nn.functional.one_hot(y, classes)
    h = (torch.randn(size, 16) @ torch.randn(16, width) + torch.randn(size, width)).relu()
    gram = (r @ r.T) * (h @ h.T + 1.0)
    norms = gram.diagonal()
    d = (norms[:, None] + norms[None, :] - 2.0 * gram).clamp_min(0.0).sqrt().fill_diagonal_(0.0)
    level = torch.full((size,), float(d.max()))
    gain = (level[:, None] - d).sum(0)
    touched = []
    for _ in range(picks):
        pick = int(gain.argmax())
        rows = (d[:, pick] < level).nonzero().flatten()
        touched.append(len(rows))
        own = d[rows]
        gain += (d[rows, pick][:, None] - own).clamp_min(0).sum(0) - (level[rows][:, None] - own).clamp_min(0).sum(0)
        level[rows] = d[rows, pick]
        gain[pick] = -1.0
    touched.sort()
    return [touched[int((decile + 0.5) / 10 * picks)] for decile in range(10)]


def greedy_seconds(case: Case, by: Latencies) -> float:
    """First gains, and picks one after the other: column, list, gains of the touched rows, meetings."""
    queued = case.groups > by.multiprocessors
    threads = 256 if case.size <= SMALL_ROWS else 512
    resident = by.multiprocessors * (3 if queued and threads == 256 else 1)
    team = 1 if queued else by.multiprocessors // case.groups
    rounds = -(-case.groups // resident) if queued else 1
    columns = -(-case.size // team)
    tiles = -(-columns // threads)
    across = (-(-columns // tiles) + 31) // 32 * 32
    deep = max(1, threads // across)
    sharing = case.size > REPLICATED_ROWS
    scanned = columns if sharing else case.size
    warps = threads // 32 * (3 if queued else 1)  # that share a multiprocessor's issue slots
    turn = by.read + LOADS * by.instructions * warps / by.issues / by.clock
    deciles = TOUCHED.get(case.name) or [round(rows * case.size / 5000) for rows in TOUCHED["craig-cifar10"]]
    turns = tiles * sum(-(-rows // (LOADS * deep)) for rows in deciles) / len(deciles)
    meetings = (0 if queued else 2 if sharing else 1) * by.meeting
    pick = -(-scanned // (LOADS * threads)) * by.read + turns * turn + meetings + by.barriers * by.barrier
    first = tiles * -(-case.size // (LOADS * deep)) * LOADS * by.instructions * warps / by.issues / by.clock
    return rounds * (first + case.picks * pick)


def matching_seconds(case: Case, rates: Rates, by: Latencies) -> float:
    """Launches one after the other, their dependent reads, and the larger of bytes and products.

    A program of `matching_products` has one turn of reads for 32 features, for 64 atoms and for 64 rows of T; one of
    `matching_steps` about five.
    """
    over_features, over_atoms = -(-case.width // 32), -(-case.picks // 2 // 64)
    turns = 2 * over_features + 3 * over_atoms + 2 * 5 + 2
    floor = matching_floor(case, rates)
    work = max(floor["bytes"], floor["operations"] / by.efficiency)
    return by.rounds * (case.picks * (LAUNCHES * by.launch + turns * by.read) + work)


def stages(case: Case, rates: Rates, by: Latencies) -> dict[str, float]:
    if case.algorithm == "gradmatch":
        return {"all": matching_seconds(case, rates, by)}
    parts = distance_floor(case, rates)
    distances = max(parts["operations"] / by.efficiency, parts["bytes"])
    greedy = greedy_seconds(case, by)
    return {"distances": distances, "greedy": greedy, "all": distances + greedy}


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
