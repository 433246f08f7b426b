"""Measure training steps: `python -m benchmarks.engine`. Tests first, then all contenders in turn (A B C A B C).

Each contender lives in a process of its own. Its first steps warm up (and compile), one more gives the peak memory,
and then one step a round is timed.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib.util
import multiprocessing as mp
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from acs_fast.training.engine import has_bfloat16
from benchmarks import machine, report, results_file, runner, worker
from benchmarks.engine_steps import CONTENDERS, Case, Contender, Trainer
from benchmarks.results_file import Row, Run

FOLDER = results_file.FOLDER / "engine"
CASES = (
    Case("engine-pgd", "adversarial training with PGD", "pgd"),
    Case("engine-trades", "adversarial training with TRADES", "trades"),
)
QUICK = tuple(Case(c.name, c.title, c.objective, width=4, batch=4, side=8, steps=1) for c in CASES)
TESTS = "tests/objectives/test_objectives.py"
WARM_UP = 2
LIMIT_S = 600.0  # for an answer; the first contains the compilation


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine", description=__doc__)
    parser.add_argument("--repeat", type=int, default=15, help="timed steps of each contender (default 15)")
    parser.add_argument("--threads", type=int, default=machine.cores(), help="default: all cores")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything work? not for the README")
    parser.add_argument("--only", action="append", choices=[c.name for c in CONTENDERS], help="these contenders")
    parser.add_argument("--tests", default=TESTS, metavar="PATH", help="tests that have to pass first")
    parser.add_argument("--output", type=Path, metavar="FILE", help="results file (default benchmarks/results/engine/)")
    args = parser.parse_args(arguments)
    if args.repeat < 1 or args.threads < 1:
        parser.error(f"--repeat and --threads must be at least 1; got {args.repeat} and {args.threads}")
    tests = runner.tests_pass(args.tests, "cpu")
    if tests is None:
        return 1
    path = args.output or (machine.ROOT / "runs" / "bench" if args.quick else FOLDER) / _name()
    chosen = tuple(c for c in CONTENDERS if args.only is None or c.name in args.only)
    run = measure(QUICK if args.quick else CASES, chosen, args.repeat, args.threads, args.quick, tests, path)
    print(report.engine_section([run]))
    return 0


def measure(
    cases: tuple[Case, ...], contenders: tuple[Contender, ...], repeat: int, threads: int, quick: bool, tests: str,
    path: Path,
) -> Run:  # fmt: skip
    """Run the cases and write the results file after each."""
    versions = machine.versions() | {"torchattacks": machine.version("torchattacks")}
    run = Run(
        device="cpu", date=datetime.now(timezone.utc).isoformat(timespec="seconds"), quick=quick, threads=threads,
        machine=machine.machine(), versions=versions, commit=machine.commit(),
        cases=[{**asdict(case), "size": case.size} for case in cases], tests=tests,
    )  # fmt: skip
    for case in cases:
        print(f"{case.name}: {case.size}", file=sys.stderr, flush=True)
        run.rows += _race(case, contenders, repeat, threads)
        run.finished.append(case.name)
        run.write(path)
    run.complete = True
    run.write(path)
    print(path, file=sys.stderr)
    return run


def _race(case: Case, contenders: tuple[Contender, ...], repeat: int, threads: int) -> list[Row]:
    context = mp.get_context("spawn")
    rows = [Row(case.name, c.name, c.title, c.kind, "ok") for c in contenders]
    racing: list[tuple[Row, Any, Connection]] = []
    for row, contender in zip(rows, contenders, strict=True):
        if contender.engine.amp and not has_bfloat16(torch.device("cpu")):
            row.status, row.reason = "not run", "this processor has no bfloat16 arithmetic"
            continue
        if contender.kind == "peer" and importlib.util.find_spec("torchattacks") is None:
            row.status, row.reason = "not run", "torchattacks not installed"
            continue
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, case, contender, threads), daemon=True)
        process.start()
        theirs.close()
        racing.append((row, process, ours))
        if _ask(row, ours, "warm up") is not None and (found := _ask(row, ours, "memory")) is not None:
            row.peak_bytes = int(found["peak_bytes"])
    for _ in range(repeat):
        for row, connection in _standing(racing):
            if (found := _ask(row, connection, "run")) is not None:
                row.seconds.append(float(found["seconds"]))
    for row, connection in _standing(racing):
        row.quality = _ask(row, connection, "quality") or {}
        connection.send("stop")
    for _, process, _ in racing:
        process.join(5.0)
        process.kill()
    return rows


def _standing(racing: list[tuple[Row, Any, Connection]]) -> Iterator[tuple[Row, Connection]]:
    return ((row, connection) for row, _, connection in racing if row.ok)


def _ask(row: Row, connection: Connection, command: str) -> dict[str, Any] | None:
    """The answer, or None after the row was given the reason why there is none."""
    try:
        connection.send(command)
        if connection.poll(LIMIT_S):
            answer: dict[str, Any] = connection.recv()
            if "error" not in answer:
                return answer
            row.status, row.reason = "failed", answer["error"]
        else:
            row.status, row.reason = "over time", f"no answer within {LIMIT_S:.0f} s"
    except (EOFError, OSError):
        row.status, row.reason = "failed", "its process ended"
    return None


def serve(connection: Connection, case: Case, contender: Contender, threads: int) -> None:
    """One contender's process: answers each command with a dictionary, until "stop" or the end of the connection."""
    torch.set_num_threads(threads)
    try:
        trainer = Trainer(case, contender)
        while (command := connection.recv()) != "stop":
            if command == "warm up":
                for _ in range(WARM_UP):
                    trainer.step()
                connection.send({})
            elif command == "memory":
                gc.collect()
                ctypes.CDLL(None).malloc_trim(0)  # what earlier steps have freed does not count as there before
                connection.send(worker.measured(trainer.step, "cpu")[1])
            elif command == "run":
                start = time.perf_counter()
                trainer.step()
                connection.send({"seconds": time.perf_counter() - start})
            else:
                connection.send({"gain": trainer.gain()})
    except EOFError:
        return
    except Exception as error:  # whatever a contender raises is a row, not the end of the run
        connection.send({"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"})


def _name() -> str:
    return f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-cpu.json"


if __name__ == "__main__":
    sys.exit(main())
