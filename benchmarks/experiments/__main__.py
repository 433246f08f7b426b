"""`python -m benchmarks.experiments E1`, `... all`, `... list`: see --help."""

from __future__ import annotations

import argparse
import multiprocessing as mp
import shutil
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from acs_fast.benchmark import machine
from acs_fast.training import DataError
from benchmarks import RESULTS, ROOT
from benchmarks.experiments import trial
from benchmarks.experiments.code_version import code_version
from benchmarks.experiments.execute import Settings, execute
from benchmarks.experiments.table import EXPERIMENTS

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments", description=__doc__)
    add = parser.add_argument
    add("what", nargs="+", choices=[*EXPERIMENTS, "all", "list"], help="experiments, or what there is")
    add("--seeds", type=int, help="seeds per variant (default: what the table says)")
    add("--jobs", type=int, default=machine.cores(), help="runs at a time, one thread each (default: cores)")
    add("--minutes", type=float, default=float("inf"), help="start no run after so many minutes")
    add("--data", help=f"folder of Fashion-MNIST, or digits (default: {trial.VARIABLE}, or {trial.SYSTEM})")
    add("--scratch", type=Path, default=ROOT / "runs" / "experiments", help="keeps finished runs")
    add("--output", type=Path, default=RESULTS / "experiments", help="folder of results files and plots")
    add("--fresh", action="store_true", help="forget the runs in the scratch folder")
    args = parser.parse_args(arguments)
    if "list" in args.what:
        return _list()
    try:
        for option in ("jobs", "seeds"):
            if getattr(args, option) is not None and getattr(args, option) < 1:
                raise ValueError(f"--{option} must be at least 1; got {getattr(args, option)}")
        where, name = trial.source(args.data)
    except (ValueError, DataError) as error:
        print(error, file=sys.stderr)
        return 2
    if args.fresh:
        shutil.rmtree(args.scratch, ignore_errors=True)
    deadline = time.monotonic() + 60 * args.minutes
    settings = Settings(where, name, args.jobs, code_version(), args.scratch, args.output, deadline)
    return _run(list(EXPERIMENTS) if "all" in args.what else args.what, args.seeds, settings)


def _run(names: list[str], seeds: int | None, settings: Settings) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ProcessPoolExecutor(settings.jobs, mp.get_context("spawn")) as pool:
        try:
            for experiment in (EXPERIMENTS[name].on(settings.data) for name in names):
                minutes = f"about {experiment.minutes:g} core-minutes on Fashion-MNIST"
                print(f"{experiment.name}: {experiment.title}, {minutes}", file=sys.stderr)
                execute(experiment, seeds or experiment.seeds, settings, pool)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            print(f"interrupted; what was run stays in {settings.scratch}: the same command goes on", file=sys.stderr)
            return INTERRUPTED
    return 0


def _list() -> int:
    for name, experiment in EXPERIMENTS.items():
        runs = len(experiment.variants) * experiment.seeds
        print(f"{name}  {experiment.title}: {runs} runs, about {experiment.minutes:g} core-minutes")
        print(f"    {experiment.question}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
