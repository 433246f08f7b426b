"""`python -m benchmarks [ops|step|processes]`: run a suite after the tests of what it measures have passed."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from fnmatch import fnmatch
from pathlib import Path

import torch

from acs_fast.benchmark import Case, Opponent, execute, runner
from benchmarks import RESULTS, ROOT, ops, peers, processes, report, step
from benchmarks.peers import older

INTERRUPTED = 130
FITTING = 20_000  # samples of which the memory of these machines holds every opponent's matrix and an older library's


@dataclass(frozen=True)
class Suite:
    """Cases with their opponents, the tests that have to pass first, and how often an opponent is timed at most."""

    cases: tuple[Case, ...]
    quick: tuple[Case, ...]
    opponents: Mapping[str, Opponent]
    tests: str
    repeat: int


SUITES = {
    "ops": Suite(ops.CASES, ops.QUICK, peers.OPPONENTS, "tests/ops", 7),
    "step": Suite(step.CASES, step.QUICK, step.OPPONENTS, "tests/objectives", step.REPEAT),
    "processes": Suite(
        processes.CASES, processes.QUICK, processes.OPPONENTS, "tests/selection/distributed", processes.REPEAT
    ),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("suite", nargs="?", choices=tuple(SUITES), default="ops")
    add("--case", action="append", metavar="NAME", help="only this case or series (shell pattern)")
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add("--repeat", type=int, help="timed runs of each opponent at most")
    add("--quick", action="store_true", help="tiny sizes: does everything work? not for the report")
    add("--output", type=Path, metavar="FILE", help="results file (default benchmarks/results/...)")
    add("--before", type=Path, metavar="CHECKOUT", help="ops: an older one, built in place, takes part")
    add("--tests", metavar="PATH", help="tests that have to pass first")
    args = parser.parse_args(arguments)
    suite = SUITES[args.suite]
    repeat = suite.repeat if args.repeat is None else args.repeat
    if repeat < 1:
        parser.error(f"--repeat must be at least 1; got {repeat}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no CUDA device")
    try:
        cases = select(suite.quick if args.quick else suite.cases, args.case or ["*"])
    except ValueError as error:
        parser.error(str(error))
    opponents = dict(suite.opponents)
    if args.before is not None:
        opponents["before"] = older.opponent(args.before)
        cases = tuple(replace(c, opponents=(*c.opponents, "before")) if c.n <= FITTING else c for c in cases)
    tests = tests_pass(args.tests or suite.tests, opponents, args.device)
    if tests is None:
        return 1
    path = args.output or default_path(args.suite, args.device, args.quick)
    run = runner.begin(cases, opponents, args.device, ROOT, quick=args.quick, tests=tests)
    try:
        execute(run, cases, opponents, repeat, path)
    except KeyboardInterrupt:
        print(f"interrupted; the rows so far are in {path}", file=sys.stderr)
        return INTERRUPTED
    print(report.tables([run]))
    return int(any(row.status == "differs" for row in run.rows))


def select(cases: tuple[Case, ...], patterns: list[str]) -> tuple[Case, ...]:
    """The cases whose name or series matches one of the shell patterns.

    Raises:
        ValueError: a pattern matches nothing.
    """
    chosen: list[Case] = []
    for pattern in patterns:
        hits = [c for c in cases if fnmatch(c.name, pattern) or (c.series and fnmatch(c.series[0], pattern))]
        if not hits:
            raise ValueError(f"--case {pattern} names no case; there are: {', '.join(c.name for c in cases)}")
        chosen += [c for c in hits if c not in chosen]
    return tuple(chosen)


def tests_pass(tests: str, opponents: Mapping[str, Opponent], device: str) -> str | None:
    """Run the tests; what they printed last when they pass, None (and their output shown) when not."""
    there = [o for o in opponents.values() if device in o.devices and o.missing() is None]
    required = {o.options.get("backend", "reference") for o in there} - {"reference"}
    environment = {**os.environ, "ACS_FAST_REQUIRE": ",".join(sorted(required))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{done.stdout[-4000:]}{done.stderr[-2000:]}the tests failed: no benchmark was run", file=sys.stderr)
        return None
    return f"{tests}: {(done.stdout.strip().splitlines() or ['passed'])[-1].strip('= ')}"


def default_path(suite: str, device: str, quick: bool) -> Path:
    """Where a run's file goes: quick runs prove nothing and stay out of the results."""
    name = f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{device}.json"
    return (ROOT / "runs" / "bench" if quick else RESULTS / suite) / name


if __name__ == "__main__":
    sys.exit(main())
