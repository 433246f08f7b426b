"""`python -m benchmarks.floors_cpu`: the floor of gradient matching and the rates of distances, and what is reached.

A floor is what the work cannot take less than at rates measured on the spot: blocked products at that of a product of
the same shapes by BLAS, bytes at that of a sum over as many. Where the time goes is read from samples of `perf`, if it
is there. Files are in `benchmarks/results/ops/floors`.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import acs_fast as acs
from acs_fast.benchmark import data, machine
from acs_fast.benchmark.rows import write_results
from acs_fast.ops import compiled
from benchmarks import RESULTS, ROOT

FORMAT = 1
CLASSES, WIDTH = 10, 512
MATCHING = ((2_000, 300), (5_000, 1_500))
GROUPS = 10  # of these sizes, matched side by side
DISTANCES = {5_000: 7, 10_000: 5, 20_000: 2, 40_000: 1}  # N: timed runs
SMALL_PAGES = 20_000  # N up to which rates with small pages are taken
SYMBOLS = (  # of which part of gradient matching, the first that a symbol's name has
    ("estimates and columns by blocked products", ("multiply_rows<float", "Screen<", "transpose")),
    ("passes over columns", ("add_columns",)),
    ("what is left of the target, in float64", ("multiply_rows<double", "Remainder")),
    ("Gram matrix of the atoms, in float64", ("dots_kernel", "inner_products")),
    ("open atoms", ("SchurComplement", "rising", "shrink", "open_weights")),
    ("backward substitutions", ("dot_kernel<double>", "backward")),
    ("forward substitutions", ("subtract_kernel", "forward", "append")),
    ("atoms that leave the factor", ("unsettle", "rotate_kernel", "::turn", "hypot", "memmove")),
    (
        "waiting for work",
        ("::lead", "sched", "yield", "syscall", "Waiting", "pick_next", "update_curr", "entry_SYSRET"),
    ),
    ("float64 correlations of candidates", ("dot_kernel<float>", "correlat")),
)
THP_DISABLE = 41  # prctl: this process gets no huge pages


def timed(work: Callable[[], Any], repeat: int) -> float:
    """Median seconds, after a run that warms up where there are more than one."""
    if repeat > 1:
        work()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def product_rate(n: int) -> float:
    """Operations a second of a float32 product [n, C + D] x [C + D, n] by BLAS."""
    a, b = torch.randn(n, CLASSES + WIDTH), torch.randn(CLASSES + WIDTH, n)
    out = torch.empty(n, n)
    return 2.0 * n * n * (CLASSES + WIDTH) / timed(lambda: torch.mm(a, b, out=out), 7)


def reading_rate(bytes_: float) -> float:
    """Bytes a second of a sum over so many, all threads together."""
    x = torch.ones(max(1, int(bytes_ / 4)))
    return x.nbytes / timed(lambda: [x.sum() for _ in range(8)], 7) * 8


def matching_floor(n: int, k: int) -> dict[str, float]:
    """Seconds that no algorithm of this kind can do without, each pick's correlations by what is cheaper."""
    products = product_rate(n)
    reading = reading_rate(4.0 * n * k)
    factor = reading_rate(4.0 * k * k)
    column = 2.0 * n * (CLASSES + WIDTH) / products
    screening = 2.0 * n * CLASSES * WIDTH / products
    by_columns = [column + 4.0 * n * m / reading for m in range(k)]  # the m-th pick: its column, and those so far
    least_squares = 2.0 * 4.0 * k**3 / 3.0 / factor  # a forward and a backward substitution for every pick
    best = min(range(k + 1), key=lambda at: sum(by_columns[:at]) + screening * (k - at))
    return {
        "products_per_second": products, "bytes_per_second": reading, "factor_bytes_per_second": factor,
        "whole_gram": n * (n + 1.0) * (CLASSES + WIDTH) / products, "needed_columns": k * column,
        "passes_over_all_columns": sum(by_columns) - k * column, "screening_only": k * screening,
        "picks_by_columns": best, "correlations": sum(by_columns[:best]) + screening * (k - best),
        "least_squares": least_squares,
        "floor": sum(by_columns[:best]) + screening * (k - best) + least_squares,
    }  # fmt: skip


def picked(g: acs.LastLayerGradients, k: int) -> int:
    """Atoms that gradient matching tries on its way to k: some leave again."""
    tried: list[int] = []

    def best(sample: int, correlation: float, to_target: float) -> tuple[int, float, float]:
        tried.append(sample)
        return sample, correlation, to_target

    r, h, target = g.residuals.contiguous(), g.features.contiguous(), g.to(torch.float64).total().contiguous()
    indices, weights, gains = torch.empty(k, dtype=torch.int64), *torch.empty(2, k, dtype=torch.float64)
    assert compiled.MODULE is not None
    compiled.MODULE.match_part_float32(
        r.data_ptr(), h.data_ptr(), *r.shape, h.shape[2], g.bias, target.data_ptr(), k, 0.0, 0, len(g), lambda x: x,
        best, indices.data_ptr(), weights.data_ptr(), gains.data_ptr(), torch.get_num_threads(),
    )  # fmt: skip
    return len(tried)


def matching(n: int, k: int, repeat: int) -> dict[str, Any]:
    """Floor, stages with one thread and with all, groups side by side, and what parts samples of the time are of."""
    g, _ = data.gradients(n, CLASSES, WIDTH)
    threads = torch.get_num_threads()

    def run() -> dict[str, float]:
        seconds = acs.gradient_matching(g, k, backend="cpu").stats["seconds"]
        return {name: seconds[name] for name in ("columns", "screening", "refit", "select")}

    def median(run: Callable[[], dict[str, float]], repeat: int) -> dict[str, float]:
        run()
        runs = [run() for _ in range(repeat)]
        middle = sorted(runs, key=lambda seconds: seconds["select"])[len(runs) // 2]
        return middle | {"fastest": min(seconds["select"] for seconds in runs)}

    several, groups = data.gradients(GROUPS * n, CLASSES, WIDTH, GROUPS)

    def run_groups() -> dict[str, float]:
        seconds = acs.gradient_matching(several, GROUPS * k, groups=groups, backend="cpu").stats["seconds"]
        return {"select": seconds["select"]}

    stages = median(run, repeat)
    torch.set_num_threads(1)
    alone = median(run, repeat)
    torch.set_num_threads(threads)
    side_by_side = median(run_groups, max(1, repeat // 2))["select"] / GROUPS
    floor = matching_floor(n, k)
    return {
        "n": n, "classes": CLASSES, "width": WIDTH, "budget": k, "atoms_tried": picked(g, k), "floor": floor,
        "seconds": stages, "seconds_of_one_thread": alone,
        "meetings_and_serial_parts": stages["select"] - alone["select"] / threads,
        "over_floor": stages["select"] / floor["floor"], "groups": GROUPS, "seconds_of_a_group": side_by_side,
        "group_over_floor": side_by_side / floor["floor"], "core_seconds": sampled(run, threads),
    }  # fmt: skip


def sampled(work: Callable[[], Any], threads: int) -> dict[str, float]:
    """Seconds of all cores by part of gradient matching, from samples of this process; {} without `perf`."""
    if shutil.which("perf") is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/samples"
        command = ["perf", "record", "-q", "-F", "4000", "-o", file, "-p", str(os.getpid())]
        recorder = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        start = time.perf_counter()
        work()
        seconds = threads * (time.perf_counter() - start)
        recorder.send_signal(signal.SIGINT)
        recorder.wait()
        listing = ["perf", "report", "-i", file, "--stdio", "-g", "none", "--sort", "symbol"]
        lines = subprocess.run(listing, capture_output=True, text=True, check=False).stdout.splitlines()
    parts: dict[str, float] = {}
    shares = [(float(line.split("%")[0]), line) for line in lines if "%" in line and not line.startswith("#")]
    for share, line in shares:
        part = next((part for part, names in SYMBOLS if any(name in line for name in names)), "the rest")
        parts[part] = parts.get(part, 0.0) + share * seconds / sum(share for share, _ in shares)
    return dict(sorted(parts.items(), key=lambda item: -item[1]))


def distances(n: int, repeat: int) -> dict[str, Any]:
    """10^9 operations a second that symmetry leaves, into fresh and into used memory; and those of rows alone."""
    g, _ = data.gradients(n, CLASSES, WIDTH)
    r, h = g.residuals.contiguous(), g.features.contiguous()
    work = n * (n + 1.0) * (CLASSES + WIDTH) / 1e9

    def fill(out: Tensor) -> None:
        assert compiled.MODULE is not None
        factors = compiled.MODULE.Factors(r.data_ptr(), h.data_ptr(), False, *r.shape, h.shape[2], g.bias)
        compiled.MODULE.pairwise_distances(factors, False, torch.get_num_threads(), out.data_ptr())

    first = work / timed(lambda: fill(torch.empty(n, n)), 1)  # this process has not had so much memory yet
    fresh = work / timed(lambda: fill(torch.empty(n, n)), repeat)
    found = {
        "n": n, "first": first, "fresh": fresh, "reused": work / _reused(fill, n, repeat), "rows": _rows(r, h, n),
        "page_faults_seconds": timed(lambda: _touched(n), repeat),
    }  # fmt: skip
    if n <= SMALL_PAGES:
        ctypes.CDLL(None).prctl(THP_DISABLE, 1, 0, 0, 0)
        found |= {
            "fresh_small_pages": work / timed(lambda: fill(torch.empty(n, n)), repeat),
            "reused_small_pages": work / _reused(fill, n, repeat),
        }
        ctypes.CDLL(None).prctl(THP_DISABLE, 0, 0, 0, 0)
    return found


def _reused(fill: Callable[[Tensor], None], n: int, repeat: int) -> float:
    out = torch.empty(n, n)
    fill(out)
    return timed(lambda: fill(out), repeat)


def _touched(n: int) -> Tensor:
    """Memory of N^2 float32 with every page there, huge where the system has such."""
    out = torch.empty(n * n)
    assert compiled.MODULE is not None
    compiled.MODULE.prefer_huge_pages(out.data_ptr(), out.nbytes)
    out[::1024] = 0.0
    return out


def _rows(r: Tensor, h: Tensor, n: int) -> float:
    """The rate of at most 2,240 whole rows into memory that is there: nothing is mirrored."""
    assert compiled.MODULE is not None
    means = torch.cat([r.double().mean(0), h.double().mean(0)], 1).contiguous()
    threads, some = torch.get_num_threads(), min(n, 2_240)
    block = compiled.MODULE.ColumnBlock_float32(
        r.data_ptr(), h.data_ptr(), 0, n, *r.shape[1:], h.shape[2], True, means.data_ptr(), False, threads
    )
    out = torch.zeros(some, n)
    seconds = timed(lambda: block.rows(r.data_ptr(), h.data_ptr(), 0, some, out.data_ptr(), threads), 3)
    return 2.0 * some * n * (CLASSES + WIDTH) / 1e9 / seconds


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floors_cpu", description=__doc__)
    parser.add_argument("part", choices=("matching", "distances"))
    parser.add_argument("--repeat", type=int, default=5, help="timed runs of gradient matching")
    parser.add_argument("--largest", type=int, default=max(DISTANCES), help="N of distances at most")
    parser.add_argument("--output", type=Path, metavar="FILE")
    args = parser.parse_args(arguments)
    torch.set_num_threads(machine.cores())
    content: dict[str, Any] = {
        "part": args.part, "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "threads": torch.get_num_threads(), "machine": machine.machine(), "versions": machine.versions(),
        "commit": machine.commit(ROOT),
    }  # fmt: skip
    if args.part == "matching":
        content["rows"] = [matching(n, k, args.repeat) for n, k in MATCHING]
    else:
        content["rows"] = [distances(n, repeat) for n, repeat in DISTANCES.items() if n <= args.largest]
    name = f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{args.part}.json"
    path = args.output or RESULTS / "ops" / "floors" / name
    write_results(path, FORMAT, content)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
