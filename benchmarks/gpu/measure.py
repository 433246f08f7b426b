"""Measure the GPU bars on this machine: medians beside floors from rates that are measured in the same run.

`python -m benchmarks.gpu.measure [--repeat N] [--case NAME] [--seconds S] [--output FILE]` writes FILE (JSON) after
each case, and begins none after S seconds.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import acs_fast
from acs_fast.ops import device as ops
from acs_fast.ops.reference.greedy import greedy
from benchmarks.gpu import campaign, floors, report

PRECISIONS = {"tf32x3": torch.float32, "bf16": torch.bfloat16, "float64": torch.float32}


def seconds(work: Callable[[], Any], repeat: int, warm_up: int = 2) -> dict[str, float]:
    """Median and spread by device events."""
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
    times.sort()
    return {
        "median_s": statistics.median(times), "p20_s": times[len(times) // 5], "p80_s": times[-1 - len(times) // 5],
        "repeats": repeat,
    }  # fmt: skip


def measured_rates() -> floors.Rates:
    """Copy bandwidth and the rates of plain matrix products."""
    x = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    y = torch.empty_like(x)
    copy = 2.0 * x.numel() / seconds(lambda: y.copy_(x), 20)["median_s"]
    rates = {}
    for name, dtype in (("tf32x3", torch.float32), ("bf16", torch.bfloat16), ("float64", torch.float64)):
        n = 8192 if name == "bf16" else 4096
        a, b = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32x3"
        rates[name] = 2.0 * n**3 / seconds(lambda a=a, b=b: a @ b, 10)["median_s"]
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


def craig(case: floors.Case, p: dict[str, Any], repeat: int) -> dict[str, Any]:
    """The whole selection, its two stages, and a plain product of the same shapes."""
    from acs_fast.ops.triton.distances import packed_distances

    def whole() -> Any:
        return ops.facility_location(
            p["r"], p["h"], True, False, p["members"], p["offsets"], p["budgets"], p["budget"], 48 << 30
        )

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
    return {"times": rows, "peak_bytes": peak}


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


def gradmatch(case: floors.Case, p: dict[str, Any], repeat: int) -> dict[str, Any]:
    g = acs_fast.LastLayerGradients(p["r"][:, 0], p["h"][:, 0])
    targets = torch.stack([g[p["members"][a : a + case.size]].to(torch.float64).total() for a in p["offsets"][:-1]])

    def whole() -> Any:
        return torch.ops.acs_fast.gradient_matching(
            p["r"], p["h"], True, p["members"], p["offsets"], p["budgets"], p["budget"], targets, 0.0
        )

    torch.cuda.reset_peak_memory_stats()
    rows: dict[str, Any] = {"all": seconds(whole, max(1, repeat // 4), warm_up=1)}
    return {"times": rows, "peak_bytes": torch.cuda.max_memory_allocated()}


def row(case: floors.Case, rates: floors.Rates, repeat: int) -> dict[str, Any]:
    """Times of a case; out of memory and what else goes wrong is a row too."""
    try:
        found = (gradmatch if case.algorithm == "gradmatch" else craig)(case, problem(case), repeat)
    except torch.OutOfMemoryError:
        return {"case": asdict(case), "error": "out of memory"}
    except Exception as error:  # the other cases are still wanted
        return {"case": asdict(case), "error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
    return {"case": asdict(case), "floor_s": floors.floor_seconds(case, rates), **found}


def commit() -> str:
    """ACS_FAST_COMMIT, or what git says; a machine that was given nothing but the files has neither."""
    named = os.environ.get("ACS_FAST_COMMIT", "")
    if named:
        return named
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=campaign.ROOT, capture_output=True, text=True
        )
    except OSError:
        return "unknown"
    return asked.stdout.strip() or "unknown"


def machine() -> dict[str, Any]:
    triton = importlib.metadata.version("triton") if ops.has_triton() else "none"
    return {
        "device": torch.cuda.get_device_name(), "torch": torch.__version__, "triton": triton,
        "cuda": torch.version.cuda, "python": platform.python_version(), "commit": commit(),
        "kernels": str(ops.kernels(torch.float32)),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--case", action="append", choices=[c.name for c in floors.CASES])
    parser.add_argument("--seconds", type=float, default=140.0)
    parser.add_argument("--output", type=Path, default=campaign.FOLDER / "gpu.json")
    args = parser.parse_args()
    deadline = time.monotonic() + args.seconds
    rates = measured_rates()
    result: dict[str, Any] = {**machine(), "rates": asdict(rates), "rows": []}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for case in floors.CASES:
        if args.case is not None and case.name not in args.case:
            continue
        if time.monotonic() > deadline:
            result["rows"].append({"case": asdict(case), "error": "not begun: no time left"})
        else:
            result["rows"].append(row(case, rates, args.repeat))
            torch.cuda.empty_cache()
        args.output.write_text(json.dumps(result, indent=1) + "\n")
        print(report.table({"rows": result["rows"][-1:]}), flush=True)
    first = result["rows"][0]
    if "error" not in first and first["case"]["algorithm"] == "craig" and time.monotonic() < deadline:
        case = floors.Case(**first["case"])
        p = problem(case)
        first["times"]["one group by torch operators"] = seconds(lambda: torch_recipe(case, p), 1, warm_up=0)
        args.output.write_text(json.dumps(result, indent=1) + "\n")
    print(report.table(result))
    return 1 if any("error" in r for r in result["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
