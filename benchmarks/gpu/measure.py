"""Measure the GPU bars on this machine: medians beside floors from rates that are measured in the same run.

`python -m benchmarks.gpu.measure [--repeat N] [--case NAME] [--seconds S] [--output FILE]` writes FILE (JSON) after
each row, and begins no case after S seconds. With `--rehearse` it goes through the same on small shapes, without a GPU.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from acs_fast.benchmark import Row, Run, machine
from acs_fast.ops import device as ops
from benchmarks.gpu import campaign, floors, report
from benchmarks.gpu.work import (
    OPERATOR,
    PICKS,
    PLAIN,
    PUBLIC,
    REPEATS,
    TORCH,
    TorchWork,
    Work,
    device,
    peak_bytes,
    seconds,
)

CONTROLS = (PLAIN, PICKS, TORCH)
Control = Callable[[floors.Case, int], Row]


def measured_rates(small: bool = False) -> floors.Rates:
    """Copy bandwidth and the rates of plain matrix products."""
    x = torch.empty(1 << (10 if small else 30), dtype=torch.uint8, device=device())
    y = torch.empty_like(x)
    copy = 2.0 * x.numel() / statistics.median(seconds(lambda: y.copy_(x), 20))
    rates = {}
    for name, dtype in (("tf32x3", torch.float32), ("bf16", torch.bfloat16), ("float64", torch.float64)):
        n = 16 if small else 8192 if name == "bf16" else 4096
        a, b = (torch.randn(n, n, device=device(), dtype=dtype) for _ in range(2))
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32x3"
        rates[name] = 2.0 * n**3 / statistics.median(seconds(lambda a=a, b=b: a @ b, 10))
    torch.backends.cuda.matmul.allow_tf32 = False
    rates["tf32x3"] /= 3.0  # three products of tf32
    return floors.Rates(copy=copy, products=rates)


def rows(case: floors.Case, repeat: int) -> Iterator[Row]:
    """One for each stage of a case; out of memory and what else goes wrong is a row too."""
    try:
        work = Work(case)
    except Exception as error:  # the other cases are still wanted
        yield failed(case, PUBLIC, error)
        return
    for stage, run in work.stages().items():
        yield timed(case, stage, run, repeat)


def timed(case: floors.Case, stage: str, work: Callable[[], Any], repeat: int) -> Row:
    kind = "control" if stage in CONTROLS else "ours"
    try:
        peak = peak_bytes(work) if stage in (PUBLIC, OPERATOR) else None
        return Row(case.name, stage, stage, kind, "ok", seconds(work, repeat), peak, cold=repeat == 1)
    except Exception as error:  # the other stages are still wanted
        return failed(case, stage, error)


def failed(case: floors.Case, stage: str, error: Exception) -> Row:
    status = "out of memory" if isinstance(error, torch.OutOfMemoryError) else "failed"
    reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return Row(case.name, stage, stage, "control" if stage in CONTROLS else "ours", status, reason=reason)


def not_run(case: floors.Case, stage: str) -> Row:
    return Row(case.name, stage, stage, "control", "not run", reason="no time left")


def picks(case: floors.Case, repeat: int) -> Row:
    """Whether the greedy picks what the CPU does, every time."""
    try:
        found = Work(case).compared_picks(REPEATS if repeat > 1 else 2)
        return Row(case.name, PICKS, PICKS, "control", "ok", quality=found)
    except Exception as error:
        return failed(case, PICKS, error)


def torch_operators(case: floors.Case, repeat: int) -> Row:
    """One group of the case as torch would do it, once its kernels are loaded."""
    try:
        work = TorchWork(case)
        if repeat > 1:
            work(picks=2)
        found = seconds(work, 1)
        return Row(case.name, TORCH, f"one group by {TORCH}", "control", "ok", found, note="one group")
    except Exception as error:
        return failed(case, TORCH, error)


def begin(rates: floors.Rates, cases: list[floors.Case], rehearsal: bool) -> Run:
    """A run without rows yet; the floors are those of the measured rates."""
    facts = {"rates": asdict(rates), "kernels": str(ops.kernels(torch.float32))}
    described = [{**asdict(case), "floor_s": floors.floor_seconds(case, rates)} for case in cases]
    return Run(
        device().type, datetime.now(timezone.utc).isoformat(timespec="seconds"), rehearsal, machine.cores(),
        machine.machine() | facts, machine.versions(), machine.commit(campaign.ROOT), described,
    )  # fmt: skip


def controls(cases: list[floors.Case]) -> list[tuple[str, floors.Case, Control]]:
    """Beside the times: the picks of the first case, and every case in torch operators."""
    craig = [case for case in cases if case.algorithm == "craig"]
    return [*((PICKS, case, picks) for case in craig[:1]), *((TORCH, case, torch_operators) for case in craig)]


def measure(run: Run, cases: list[floors.Case], repeat: int, output: Path, deadline: float) -> None:
    """The cases, then the controls, as long as there is time; the file is written after every row."""

    def add(row: Row) -> None:
        run.rows.append(row)
        run.write(output)

    for case in cases:
        late = time.monotonic() > deadline
        for row in [not_run(case, PUBLIC)] if late else rows(case, repeat):
            add(row)
        torch.cuda.empty_cache()
        run.finished.append(case.name)
        print(report.table(run, case.name), flush=True)
    for stage, case, of in controls(cases):
        add(not_run(case, stage) if time.monotonic() > deadline else of(case, repeat))
        torch.cuda.empty_cache()
    run.complete = True
    run.write(output)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__)
    found.add_argument("--repeat", type=int, default=15)
    found.add_argument("--case", action="append", choices=[c.name for c in floors.CASES])
    found.add_argument("--seconds", type=float, default=120.0)
    found.add_argument("--output", type=Path, default=campaign.FOLDER / "gpu.json")
    found.add_argument("--rehearse", action="store_true")
    return found


def main() -> int:
    args = parser().parse_args()
    deadline = time.monotonic() + args.seconds
    if not (args.rehearse or torch.cuda.is_available()):
        print("torch finds no GPU: --rehearse goes through the cases without one", file=sys.stderr)
        return 1
    chosen = [c for c in floors.CASES if args.case is None or c.name in args.case]
    cases = [case.small() for case in chosen] if args.rehearse else chosen
    if args.rehearse:  # where a CUDA greedy may be compiled, and have nothing to run on
        ops.has_cuda_greedy = lambda: False
    run = begin(measured_rates(args.rehearse), cases, args.rehearse)
    measure(run, cases, 1 if args.rehearse else args.repeat, args.output, deadline)
    print(report.table(run))
    return 0 if all(row.ok for row in run.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
