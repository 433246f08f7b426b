"""Measure the fast path against the reference path on this machine."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from acs_fast._util.options import option
from acs_fast.benchmark import OPPONENTS, Run, execute, runner, suite, tables
from acs_fast.cli.arguments import DeviceOptions, add_options, given
from acs_fast.cli.devices import device_of
from acs_fast.ops import backends

BUSY = 0.3  # load per core that other programs may be


@dataclass(frozen=True)
class BenchOptions(DeviceOptions):
    """What is measured, and where it goes."""

    like: str | None = option(
        None, "sizes of this data set with a ResNet; other options change them", group="sizes", choices=suite.LIKE
    )
    repeat: int = option(7, "timed runs of each opponent at most", group="benchmark")
    peers: bool = option(True, "measure apricot, submodlib and other packages that are installed", group="benchmark")
    output: Path = option(Path("acs-fast-bench.json"), "results", group="benchmark", metavar="FILE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `acs-fast bench`."""
    add_options(parser, suite.Shape)
    add_options(parser, BenchOptions)


def run(args: argparse.Namespace) -> int:
    """Run the benchmarks and print the table; 1 when a fast path and the reference path differ."""
    options = BenchOptions(**given(args, BenchOptions))
    device, shape = str(device_of(options.device)), shape_of(args)
    if options.repeat < 1:
        raise ValueError(f"--repeat must be at least 1; got {options.repeat}")
    cases = suite.cases(shape, device.partition(":")[0], options.peers)
    found = runner.begin(cases, OPPONENTS, device)
    execute(found, cases, OPPONENTS, options.repeat)
    wrong = [row for row in found.rows if row.status in ("differs", "failed") and row.kind == "ours"]
    if wrong:
        for row in wrong:
            print(f"acs-fast bench: {row.case}, {row.title}: {row.reason}", file=sys.stderr)
        print("acs-fast bench: no figures, since results differ; please report it", file=sys.stderr)
        return 1
    found.write(options.output)
    print(f"{tables.table(found)}\n\n{about(found)}\nResults: {options.output}")
    return 0


def shape_of(args: argparse.Namespace) -> suite.Shape:
    """The sizes asked for, on top of those of --like."""
    start = suite.LIKE[args.like] if "like" in args else suite.Shape()
    return replace(start, **given(args, suite.Shape))


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
