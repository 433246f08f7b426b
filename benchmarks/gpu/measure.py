"""Measure the GPU bars on this machine: medians beside floors from rates that are measured in the same run.

`python -m benchmarks.gpu.measure [--repeat N] [--case NAME] [--seconds S] [--output FILE]` writes FILE (JSON) after
each case, and begins none after S seconds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

import acs_fast
from acs_fast.benchmark import Row, Run, machine
from acs_fast.ops import device as ops
from acs_fast.ops.problems import Problems
from acs_fast.ops.reference.greedy import greedy
from benchmarks.gpu import campaign, floors, report

PRECISIONS = {"tf32x3": torch.float32, "bf16": torch.bfloat16, "float64": torch.float32}


def seconds(work: Callable[[], Any], repeat: int, warm_up: int = 2) -> list[float]:
    """Of every run, by device events."""
    for _ in range(warm_up):
        work()
    times = []
    for _ in range(repeat):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return times


def measured_rates() -> floors.Rates:
    """Copy bandwidth and the rates of plain matrix products."""
    x = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    y = torch.empty_like(x)
    copy = 2.0 * x.numel() / statistics.median(seconds(lambda: y.copy_(x), 20))
    rates = {}
    for name, dtype in (("tf32x3", torch.float32), ("bf16", torch.bfloat16), ("float64", torch.float64)):
        n = 8192 if name == "bf16" else 4096
        a, b = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32x3"
        rates[name] = 2.0 * n**3 / statistics.median(seconds(lambda a=a, b=b: a @ b, 10))
    torch.backends.cuda.matmul.allow_tf32 = False
    rates["tf32x3"] /= 3.0  # three products of tf32
    return floors.Rates(copy=copy, products=rates)


def problem(case: floors.Case) -> dict[str, Any]:
    """Softmax residuals of `groups` classes and correlated features, fresh for this run."""
    torch.manual_seed(0)
    dtype = PRECISIONS[case.precision]
    labels = torch.arange(case.groups).repeat_interleave(case.size)
    r = torch.empty(case.samples, case.classes, dtype=dtype, device="cuda")
    h = torch.empty(case.samples, case.width, dtype=dtype, device="cuda")
    base = torch.randn(16, case.width, device="cuda")
    for part in torch.arange(case.samples).split(1 << 17):
        y = (labels[part] if case.groups > 1 else part).to("cuda") % case.classes
        logits = 2.0 * torch.randn(len(part), case.classes, device="cuda")
        r[part[0] : part[-1] + 1] = (logits.softmax(1) - torch.nn.functional.one_hot(y, case.classes)).to(dtype)
        z = torch.randn(len(part), 16, device="cuda") @ base + torch.randn(len(part), case.width, device="cuda")
        h[part[0] : part[-1] + 1] = z.relu().to(dtype)
    offsets = torch.arange(case.groups + 1) * case.size
    budgets = torch.full((case.groups,), case.picks)
    return {
        "r": r[:, None], "h": h[:, None], "members": torch.arange(case.samples, device="cuda"), "offsets": offsets,
        "budgets": budgets, "budget": int(budgets.sum()),
    }  # fmt: skip


def craig(case: floors.Case, p: dict[str, Any], repeat: int) -> tuple[dict[str, list[float]], int]:
    """Seconds of the whole selection, its two stages, and a plain product of the same shapes; peak bytes."""
    from acs_fast.ops.triton.distances import packed_distances

    def whole() -> Any:
        problems = Problems(p["members"], p["offsets"], p["budgets"], p["budget"])
        return ops.facility_location(p["r"], p["h"], True, False, problems, 48 << 30)

    torch.cuda.reset_peak_memory_stats()
    rows = {"all": seconds(whole, repeat)}
    peak = torch.cuda.max_memory_allocated()
    found = packed_distances(p["r"], p["h"], True, False, p["members"], p["offsets"])
    rows["distances"] = seconds(
        lambda: packed_distances(p["r"], p["h"], True, False, p["members"], p["offsets"]), repeat
    )
    rows["greedy"] = seconds(
        lambda: ops._solve_packed(
            found.data, found.layout, p["budgets"], p["budget"], found.largest, True, ops.kernels(torch.float32).greedy
        ),
        repeat,
    )
    rows["plain products"] = seconds(lambda: plain_products(case, p), repeat)
    return rows, peak


def plain_products(case: floors.Case, p: dict[str, Any]) -> None:
    """What torch takes for the two products of every group, without symmetry and without an epilogue."""
    shape = (case.groups, case.size, -1)
    r, h = p["r"].view(shape), p["h"].view(shape)
    for part in torch.arange(case.groups).split(max(1, (4 << 30) // (4 * case.size**2))):
        a, b = int(part[0]), int(part[-1]) + 1
        r[a:b] @ r[a:b].mT
        h[a:b] @ h[a:b].mT


def torch_recipe(case: floors.Case, p: dict[str, Any]) -> None:
    """One group of the case in torch operators: dense gradients, cdist, greedy by the reference."""
    own = slice(0, case.size)
    dense = acs_fast.LastLayerGradients(p["r"][own, 0], p["h"][own, 0]).dense()
    greedy(torch.cdist(dense, dense), case.picks)


def gradmatch(case: floors.Case, p: dict[str, Any], repeat: int) -> tuple[dict[str, list[float]], int]:
    g = acs_fast.LastLayerGradients(p["r"][:, 0], p["h"][:, 0])
    targets = torch.stack([g[p["members"][a : a + case.size]].to(torch.float64).total() for a in p["offsets"][:-1]])

    def whole() -> Any:
        return torch.ops.acs_fast.gradient_matching(
            p["r"], p["h"], True, p["members"], p["offsets"], p["budgets"], p["budget"], targets, 0.0
        )

    torch.cuda.reset_peak_memory_stats()
    rows = {"all": seconds(whole, max(1, repeat // 4), warm_up=1)}
    return rows, torch.cuda.max_memory_allocated()


def rows(case: floors.Case, repeat: int) -> list[Row]:
    """One for each stage of a case; out of memory and what else goes wrong is a row too."""
    try:
        times, peak = (gradmatch if case.algorithm == "gradmatch" else craig)(case, problem(case), repeat)
    except torch.OutOfMemoryError as error:
        return [failed(case, "out of memory", str(error).splitlines()[0][:80])]
    except Exception as error:  # the other cases are still wanted
        return [failed(case, "failed", f"{type(error).__name__}: {error}".splitlines()[0][:200])]
    return [
        Row(case.name, stage, stage, "control" if stage == report.PLAIN else "ours", "ok", found,
            peak if stage == "all" else None)
        for stage, found in times.items()
    ]  # fmt: skip


def failed(case: floors.Case, status: str, reason: str) -> Row:
    return Row(case.name, "all", "all", "ours", status, reason=reason)


def begin(rates: floors.Rates, cases: list[floors.Case]) -> Run:
    """A run without rows yet; the floors are those of the measured rates."""
    facts = {"rates": asdict(rates), "kernels": str(ops.kernels(torch.float32))}
    described = [{**asdict(case), "floor_s": floors.floor_seconds(case, rates)} for case in cases]
    return Run(
        "cuda", datetime.now(timezone.utc).isoformat(timespec="seconds"), False, machine.cores(),
        machine.machine() | facts, machine.versions(), machine.commit(campaign.ROOT), described,
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--case", action="append", choices=[c.name for c in floors.CASES])
    parser.add_argument("--seconds", type=float, default=140.0)
    parser.add_argument("--output", type=Path, default=campaign.FOLDER / "gpu.json")
    args = parser.parse_args()
    deadline = time.monotonic() + args.seconds
    cases = [c for c in floors.CASES if args.case is None or c.name in args.case]
    run = begin(measured_rates(), cases)
    for case in cases:
        late = time.monotonic() > deadline
        run.rows += [failed(case, "not run", "no time left")] if late else rows(case, args.repeat)
        torch.cuda.empty_cache()
        run.finished.append(case.name)
        run.write(args.output)
        print(report.table(run, case.name), flush=True)
    first = cases[0]
    if first.algorithm == "craig" and run.rows[0].ok and time.monotonic() < deadline:
        p, title = problem(first), "one group by torch operators"
        found = seconds(lambda: torch_recipe(first, p), 1, warm_up=0)
        run.rows.append(Row(first.name, title, title, "control", "ok", found))
    run.complete = True
    run.write(args.output)
    print(report.table(run))
    return 0 if all(row.ok for row in run.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
