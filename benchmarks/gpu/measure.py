"""Measure the GPU bars on this machine: medians beside floors from rates that are measured in the same run.

`python -m benchmarks.gpu.measure [--repeat N] [--case NAME] [--seconds S] [--output FILE]` writes FILE (JSON) after
each row, and begins no case after S seconds. With `--rehearse` it goes through the same on small shapes, without a GPU.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from acs_fast.benchmark import Run, execute, runner
from acs_fast.ops import device as ops
from benchmarks import ROOT
from benchmarks.gpu import campaign, floors, report
from benchmarks.gpu.cases import CASES, OPPONENTS, GpuCase, controls
from benchmarks.gpu.work import device, median_seconds


def measured_rates(small: bool = False) -> floors.Rates:
    """Copy bandwidth and the rates of plain matrix products."""
    x = torch.empty(1 << (10 if small else 30), dtype=torch.uint8, device=device())
    y = torch.empty_like(x)
    copy = 2.0 * x.numel() / median_seconds(lambda: y.copy_(x), 20)
    rates = {}
    for name, dtype in (("tf32x3", torch.float32), ("bf16", torch.bfloat16), ("float64", torch.float64)):
        n = 16 if small else 8192 if name == "bf16" else 4096
        a, b = (torch.randn(n, n, device=device(), dtype=dtype) for _ in range(2))
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32x3"
        rates[name] = 2.0 * n**3 / median_seconds(lambda a=a, b=b: a @ b, 10)
    torch.backends.cuda.matmul.allow_tf32 = False
    rates["tf32x3"] /= 3.0  # three products of tf32
    return floors.Rates(copy=copy, products=rates)


def begin(rates: floors.Rates, cases: list[GpuCase], rehearsal: bool) -> Run:
    """A run without rows yet; the floors are those of the measured rates."""
    run = runner.begin(cases, OPPONENTS, device().type, ROOT, quick=rehearsal)
    run.machine |= {"rates": asdict(rates), "kernels": str(ops.kernels(torch.float32))}
    for described, case in zip(run.cases, cases, strict=True):
        described["floor_s"] = floors.floor_seconds(case, rates)
    return run


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__)
    found.add_argument("--repeat", type=int, default=15)
    found.add_argument("--case", action="append", choices=[c.name for c in CASES])
    found.add_argument("--seconds", type=float, default=120.0)
    found.add_argument("--output", type=Path, default=campaign.FOLDER / "gpu.json")
    found.add_argument("--rehearse", action="store_true")
    return found


def main() -> int:
    args = parser().parse_args()
    begun = time.monotonic()
    if not (args.rehearse or torch.cuda.is_available()):
        print("torch finds no GPU: --rehearse goes through the cases without one", file=sys.stderr)
        return 1
    chosen = [c for c in CASES if args.case is None or c.name in args.case]
    cases = [case.small() for case in chosen] if args.rehearse else chosen
    if args.rehearse:  # where a CUDA greedy may be compiled, and have nothing to run on
        ops.has_cuda_greedy = lambda: False
    run = begin(measured_rates(args.rehearse), cases, args.rehearse)
    left = args.seconds - (time.monotonic() - begun)
    execute(run, (*cases, *controls(cases)), OPPONENTS, args.repeat, args.output, seconds=left)
    print(report.table(run))
    return 0 if all(row.ok for row in run.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
