"""`python -m benchmarks.experiments E1`, `... all`, `... report`, `... list`: see --help."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from pathlib import Path

from acs_fast.benchmark import machine
from acs_fast.training.files import DataError
from benchmarks import RESULTS, ROOT
from benchmarks.experiments import data, report
from benchmarks.experiments.code_version import code_version
from benchmarks.experiments.execute import Settings, execute
from benchmarks.experiments.pool import Pool
from benchmarks.experiments.table import EXPERIMENTS

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments", description=__doc__)
    add = parser.add_argument
    add("what", nargs="+", choices=[*EXPERIMENTS, "all", "report", "list"], help="experiments, or what else to do")
    add("--seeds", type=int, help="seeds per variant (default: what the table says)")
    add("--jobs", type=int, default=machine.cores(), help="runs at a time, one thread each (default: cores)")
    add("--minutes", type=float, default=float("inf"), help="start no run after so many minutes")
    add("--data", help=f"folder of Fashion-MNIST, or digits (default: {data.VARIABLE}, or {data.SYSTEM})")
    add("--scratch", type=Path, default=ROOT / "runs" / "experiments", help="keeps finished runs")
    add("--output", type=Path, default=RESULTS / "experiments", help="folder of results files and plots")
    add("--fresh", action="store_true", help="forget the runs in the scratch folder")
    args = parser.parse_args(arguments)
    if "list" in args.what:
        return _list()
    names = list(EXPERIMENTS) if "all" in args.what else [w for w in args.what if w in EXPERIMENTS]
    code = _run(args, names) if names else 0
    return code or int("report" in args.what and not report.sections(args.output, args.output))


def _run(args: argparse.Namespace, names: list[str]) -> int:
    try:
        for option in ("jobs", "seeds"):
            if getattr(args, option) is not None and getattr(args, option) < 1:
                raise ValueError(f"--{option} must be at least 1; got {getattr(args, option)}")
        where, name = data.source(args.data)
    except (ValueError, DataError) as error:
        print(error, file=sys.stderr)
        return 2
    if args.fresh:
        shutil.rmtree(args.scratch, ignore_errors=True)
    settings = Settings(where, name, args.jobs, code_version(), args.scratch, args.output,
                        time.monotonic() + 60 * args.minutes)  # fmt: skip
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pool = Pool(args.jobs)
    try:
        for key in names:
            experiment = EXPERIMENTS[key].on(name)
            print(
                f"{key}: {experiment.title}, about {experiment.minutes:g} core-minutes on Fashion-MNIST",
                file=sys.stderr,
            )
            execute(experiment, args.seeds or experiment.seeds, settings, pool)
    except KeyboardInterrupt:
        print(f"interrupted; finished runs stay in {args.scratch}: the same command goes on", file=sys.stderr)
        return INTERRUPTED
    finally:
        pool.close()
    return 0


def _list() -> int:
    for name, experiment in EXPERIMENTS.items():
        runs = len(experiment.variants) * experiment.seeds
        print(f"{name}  {experiment.title}: {runs} runs, about {experiment.minutes:g} core-minutes")
        print(f"    {experiment.question}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
