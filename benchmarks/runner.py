"""Runs cases: the operators' tests first, then all opponents of a case in turn, again and again (A B A B)."""

from __future__ import annotations

import multiprocessing as mp
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from benchmarks import machine, results_file
from benchmarks.cases import Case
from benchmarks.peers import OPPONENTS
from benchmarks.results_file import Row, Run

START_LIMIT_S = 120.0  # for a worker to build its input
BACKEND_TESTS = "tests/ops"


@dataclass(eq=False)
class Contender:
    """A worker process and what has been measured in it."""

    row: Row
    process: ForkServerProcess
    connection: Connection
    runs: list[float] = field(default_factory=list)
    spent: float = 0.0

    def ask(self, command: str | None, limit_s: float) -> dict[str, Any] | None:
        """The worker's answer, or None after the row was given the reason why there is none."""
        try:
            if command:
                self.connection.send(command)
            if not self.connection.poll(limit_s):
                self.end("over time", f"stopped after {limit_s:.0f} s")
                return None
            answer: dict[str, Any] = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(5.0)
            killed = self.process.exitcode == -9
            self.end("out of memory" if killed else "failed", f"its process ended with code {self.process.exitcode}")
            return None
        if "status" in answer:
            self.end(answer["status"], answer["reason"])
            return None
        return answer

    def end(self, status: str, reason: str = "") -> None:
        self.row.status, self.row.reason = status, reason
        self.connection.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


def tests_pass(tests: str, device: str) -> str | None:
    """Run the operators' tests; what they printed last when they pass, None (and their output shown) when not."""
    folder = machine.ROOT / tests
    if not folder.exists():
        print(f"no operator tests at {folder}: no benchmark was run", file=sys.stderr)
        return None
    require = [o.options["backend"] for o in OPPONENTS.values() if o.kind == "ours" and o.missing(device) is None]
    wanted = ",".join(name for name in require if name != "reference")
    environment = {**os.environ, "ACS_FAST_REQUIRE": wanted} if wanted else dict(os.environ)
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(command, cwd=machine.ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout[-4000:] + done.stderr[-2000:], file=sys.stderr)
        print("the operators' tests failed: no benchmark was run", file=sys.stderr)
        return None
    return f"{tests}: {(done.stdout.strip().splitlines() or ['passed'])[-1].strip('= ')}"


def execute(cases: tuple[Case, ...], device: str, repeat: int, quick: bool, tests: str, path: Path) -> Run:
    """Run the cases and write the results file row by row."""
    run = Run(
        device=device, date=datetime.now(timezone.utc).isoformat(timespec="seconds"), quick=quick,
        threads=1 if quick else machine.cores(), machine=machine.machine(),
        versions=machine.versions(), commit=machine.commit(),
        cases=[{**asdict(case), "size": case.size} for case in cases], tests=tests,
    )  # fmt: skip
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(machine.ROOT), os.environ.get("PYTHONPATH")]))
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.preload"])
    started = time.perf_counter()
    for number, case in enumerate(cases, 1):
        _progress(f"[{number}/{len(cases)}] {case.name}: {case.size}  ({time.perf_counter() - started:.0f} s)")
        for row in _measure_case(context, case, run, repeat):
            run.rows.append(row)
            run.write(path)
        run.finished.append(case.name)
    run.complete = True
    run.write(path)
    _progress(f"{len(run.rows)} rows in {time.perf_counter() - started:.0f} s: {path}")
    return run


def _measure_case(context: ForkServerContext, case: Case, run: Run, repeat: int) -> Iterator[Row]:
    """The rows of a case, each as soon as it is complete."""
    rows = [_row(case, name, run.device) for name in (*case.opponents, *case.not_run)]
    yield from (row for row in rows if row.status == "not run")
    racing = [_start(context, case, row, run) for row in rows if row.status == "waiting"]
    ready = [c for c in racing if c.ask(None, START_LIMIT_S)]
    yield from (c.row for c in racing if c not in ready)
    while ready:
        for contender in list(ready):
            if not _one_more(contender, case, repeat):
                ready.remove(contender)
                yield contender.row


def _row(case: Case, name: str, device: str) -> Row:
    opponent = OPPONENTS[name]
    row = Row(case.name, name, opponent.title, opponent.kind, "waiting", note=opponent.note)
    if name in case.not_run:
        row.status, row.reason = "not run", case.not_run[name]
    elif device not in opponent.devices:
        row.status = "absent"
    elif missing := opponent.missing(device):
        row.status, row.reason = "not run", missing
    return row


def _start(context: ForkServerContext, case: Case, row: Row, run: Run) -> Contender:
    from benchmarks import worker

    ours, theirs = context.Pipe()
    arguments = (theirs, case, row.opponent, run.device, run.threads)
    process = context.Process(target=worker.main, args=arguments, daemon=True)
    process.start()
    theirs.close()
    return Contender(row, process, ours)


def _one_more(contender: Contender, case: Case, repeat: int) -> bool:
    """Measure once more; False when the contender has had its share, with its row complete.

    The first run gives the peak memory and warms up: its time counts only where there is no time for a second.
    """
    answer = contender.ask("run", case.limit_s)
    if answer is None:
        return False
    seconds, row = float(answer["seconds"]), contender.row
    if row.peak_bytes is None:
        row.peak_bytes = int(answer["peak_bytes"])
    contender.runs.append(seconds)
    contender.spent += seconds
    if len(contender.runs) <= repeat and contender.spent + seconds <= case.seconds:
        return True
    row.seconds, row.cold = contender.runs[1:] or contender.runs, len(contender.runs) == 1
    if (found := contender.ask("quality", case.limit_s)) is not None:
        row.quality = found
        contender.connection.send("stop")
        contender.process.join(5.0)
        contender.end("ok")
        _progress(f"    {row.title}: {row.median:.4g} s, {len(row.seconds)} runs")
    return False


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def default_path(device: str, quick: bool) -> Path:
    """Where a run's file goes: quick runs prove nothing and stay out of the results."""
    name = f"{datetime.now(timezone.utc):%Y%m%d-%H%M%S}-{device}.json"
    return (machine.ROOT / "runs" / "bench" if quick else results_file.FOLDER) / name
