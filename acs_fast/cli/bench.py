"""Measure the fast path against the reference path on this machine."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from acs_fast.benchmark import OPPONENTS, Run, execute, runner, suite, tables
from acs_fast.cli.devices import device_of
from acs_fast.ops import backends

BUSY = 0.3  # load per core that other programs may be
DEFAULT, FILE = suite.Shape(), "acs-fast-bench.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    add = parser.add_argument
    add("--like", choices=tuple(suite.LIKE), help="sizes of this data set with a ResNet; other options change them")
    add("--n", type=int, help=f"samples in all (default {DEFAULT.n})")
    add("--classes", type=int, help=f"classes (default {DEFAULT.classes})")
    add("--dim", type=int, help=f"inputs of the last layer (default {DEFAULT.dim})")
    add("--fraction", type=float, help=f"part of the samples to select (default {DEFAULT.fraction:g})")
    add("--dtype", choices=suite.DTYPES, help=f"of gradients and logits (default {DEFAULT.dtype})")
    add("--device", help="where to compute (default: a GPU where there is one)")
    add("--repeat", type=int, default=7, help="timed runs of each opponent at most (default 7)")
    add("--no-peers", action="store_true", help="leave out apricot, submodlib and other packages that are installed")
    add(
        "--output", type=Path, default=Path("acs-fast-bench.json"), metavar="FILE", help="results (default %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the benchmarks and print the table; 1 when a fast path and the reference path differ."""
    device, shape = str(device_of(args.device)), shape_of(args)
    if args.repeat < 1:
        raise ValueError(f"--repeat must be at least 1; got {args.repeat}")
    cases = suite.cases(shape, device.partition(":")[0], not args.no_peers)
    found = runner.begin(cases, OPPONENTS, device)
    execute(found, cases, OPPONENTS, args.repeat)
    wrong = [row for row in found.rows if row.status in ("differs", "failed") and row.kind == "ours"]
    if wrong:
        for row in wrong:
            print(f"acs-fast bench: {row.case}, {row.title}: {row.reason}", file=sys.stderr)
        print("acs-fast bench: no figures, since results differ; please report it", file=sys.stderr)
        return 1
    found.write(args.output)
    print(f"{tables.table(found)}\n\n{about(found)}\nResults: {args.output}")
    return 0


def shape_of(args: argparse.Namespace) -> suite.Shape:
    """The sizes asked for, on top of those of --like."""
    own = {name: getattr(args, name) for name in ("n", "classes", "dim", "fraction", "dtype")}
    start = suite.LIKE[args.like] if args.like else DEFAULT
    return replace(start, **{name: value for name, value in own.items() if value is not None})


def about(done: Run) -> str:
    """Machine, versions, which backends are missing, and what the columns mean."""
    facts, versions = done.machine, done.versions
    on_gpu = done.device.startswith("cuda")
    place = facts["gpu"]["name"] if on_gpu else f"{facts['cpu']} ({facts['simd']})"
    lines = [
        f"acs_fast {versions['acs_fast']}, torch {versions['torch']}, Python {versions['python']}, {place}, "
        f"{facts['cores']} cores.",
        "Before timing, answers were compared with the reference path's. Speed-up: seconds of the reference path over",
        "those of the row, where its answer is as good; its spread is that of all pairs of runs.",
    ]
    if (facts["load_at_start"] or 0.0) > BUSY * facts["cores"]:
        lines.append(f"The machine was busy when this began (load {facts['load_at_start']}): measure again.")
    names = ("triton", "cuda") if on_gpu else ("cpu",)
    lines += [f"Backend {name} is missing: {why}" for name in names if (why := backends.why_missing(name))]
    return "\n".join(lines)
