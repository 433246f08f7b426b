"""Run cases: the answers of all opponents are compared first, then all are timed in turn, again and again."""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from acs_fast.benchmark import machine, worker
from acs_fast.benchmark.case import Case
from acs_fast.benchmark.opponents import Opponent
from acs_fast.benchmark.rows import Row, Run, difference

START_LIMIT_S = 120.0  # for a worker to build its input, and to warm up


@dataclass(eq=False)
class Contender:
    """An opponent in this process and what has been measured of it."""

    row: Row
    station: Any
    runs: list[float] = field(default_factory=list)

    def ask(self, command: str, limit_s: float) -> dict[str, Any] | None:
        """The answer, or None after the row was given the reason why there is none."""
        answer = self._answer(command, limit_s)
        if "status" in answer:
            self.end(answer["status"], answer["reason"])
            return None
        return answer

    def end(self, status: str, reason: str = "") -> None:
        self.row.status, self.row.reason = status, reason
        self._leave()

    def _answer(self, command: str, limit_s: float) -> dict[str, Any]:
        found: dict[str, Any] = self.station.ask(command)
        return found

    def _leave(self) -> None:
        self.station = None


class Apart(Contender):
    """The same in a process of its own, which prepares unasked; its station is a connection."""

    def __init__(self, row: Row, connection: Connection, process: Any) -> None:
        super().__init__(row, connection)
        self.process = process

    def _answer(self, command: str, limit_s: float) -> dict[str, Any]:
        try:
            if command != "prepare":
                self.station.send(command)
            if not self.station.poll(limit_s):
                return {"status": "over time", "reason": f"stopped after {limit_s:.3g} s"}
            answer: dict[str, Any] = self.station.recv()
        except (EOFError, OSError):
            self.process.join(5.0)
            status = "out of memory" if self.process.exitcode == -9 else "failed"
            return {"status": status, "reason": f"its process ended with code {self.process.exitcode}"}
        return answer

    def _leave(self) -> None:
        if self.row.ok:
            with contextlib.suppress(OSError):  # it may have died of others' need of memory: what it measured stands
                self.station.send("stop")
            self.process.join(5.0)
        self.station.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join()


def begin(
    cases: Sequence[Case], opponents: Mapping[str, Opponent], device: str, root: Path | None = None, **facts: Any
) -> Run:
    """A run without rows yet: machine, versions, and the commit of the checkout at `root`."""
    packages = {p for case in cases for name in case.opponents for p in opponents[name].packages}
    described = [{**asdict(case), "size": case.size} for case in cases]
    facts = {"quick": False, "threads": machine.cores(), **facts}
    return Run(device=device, **facts, **machine.stamp(root, packages), cases=described)


def execute(
    run: Run, cases: Sequence[Case], opponents: Mapping[str, Opponent], repeat: int, path: Path | None = None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True),
    seconds: float = float("inf"),
) -> Run:  # fmt: skip
    """Measure the cases of a run that has begun; its file, where there is one, is written row by row.

    Args:
        seconds: after so many no case is begun; their rows say so.
    """
    context: Any = mp.get_context("forkserver" if "forkserver" in mp.get_all_start_methods() else "spawn")
    if context.get_start_method() == "forkserver":
        present = {o.module for o in opponents.values() if o.missing() is None}
        context.set_forkserver_preload([worker.__name__, *sorted(present)])
        _start_server()
    started = time.perf_counter()
    for number, case in enumerate(cases, 1):
        passed = time.perf_counter() - started
        say(f"[{number}/{len(cases)}] {case.name}: {case.size}  ({passed:.0f} s)")
        for row in _measure_case(context, case if passed < seconds else _too_late(case), opponents, run, repeat):
            run.rows.append(row)
            if row.ok:
                say(f"    {row.title}: {row.median:.4g} s, {len(row.seconds)} runs")
            if path is not None:
                run.write(path)
        run.finished.append(case.name)
        if path is not None:
            run.write(path)
    run.complete = True
    if path is not None:
        run.write(path)
    say(f"{len(run.rows)} rows in {time.perf_counter() - started:.0f} s{f': {path}' if path else ''}")
    return run


def _start_server() -> None:
    """Start the server of all processes beside this package: a checkout in the present folder would come before it."""
    here = os.getcwd()
    os.chdir(Path(__file__).parents[2])
    try:
        forkserver.ensure_running()
    finally:
        os.chdir(here)


def _too_late(case: Case) -> Case:
    return replace(case, opponents=(), not_run=dict.fromkeys(case.opponents, "no time left") | case.not_run)


def _measure_case(context: Any, case: Case, opponents: Mapping[str, Opponent], run: Run, repeat: int) -> Iterator[Row]:
    """The rows of a case, each as soon as it is complete."""
    kind = run.device.partition(":")[0]
    rows = [_row(case, name, opponents[name], kind) for name in (*case.opponents, *case.not_run)]
    yield from (row for row in rows if row.status == "not run")
    waiting = [row for row in rows if row.status == "waiting"]
    for together in [[row] for row in waiting] if case.alone else [waiting]:
        yield from _race([_start(context, case, row, opponents, run) for row in together], case, repeat)


def _race(racing: list[Contender], case: Case, repeat: int) -> Iterator[Row]:
    """Compared first, then timed in turn."""
    ready = [c for c in racing if c.ask("prepare", START_LIMIT_S)]
    ready = [c for c in ready if _first(c, case)]  # once nobody is busy with starting
    reference = next((c.row for c in ready if c.row.opponent == case.reference), None)
    for contender in ready:
        if reference and contender.row.kind == "ours" and (why := difference(contender.row, reference)):
            contender.end("differs", why)
    yield from (c.row for c in racing if c.row.status != "waiting")
    ready = [c for c in ready if c.row.status == "waiting"]
    while ready:
        for contender in list(ready):
            if not _one_more(contender, case, repeat):
                ready.remove(contender)
                yield contender.row


def _row(case: Case, name: str, opponent: Opponent, device: str) -> Row:
    row = Row(case.name, name, opponent.title, opponent.kind, "waiting", note=opponent.note)
    if name in case.not_run:
        row.status, row.reason = "not run", case.not_run[name]
    elif device not in opponent.devices:
        row.status = "absent"  # no row: another device's
    elif missing := opponent.missing():
        row.status, row.reason = "not run", missing
    return row


def _start(context: Any, case: Case, row: Row, opponents: Mapping[str, Opponent], run: Run) -> Contender:
    opponent = opponents[row.opponent]
    if case.alone:
        return Contender(row, worker.Station(case, opponent, run.device))
    ours, theirs = context.Pipe()
    arguments = (theirs, case, opponent, run.device, run.threads)
    process = context.Process(target=worker.main, args=arguments, daemon=True)
    process.start()
    theirs.close()
    return Apart(row, ours, process)


def _first(contender: Contender, case: Case) -> bool:
    """The first run gives the peak memory and the answer that is judged; False when there is none."""
    answer = contender.ask("run", case.limit_s)
    if answer is None:
        return False
    contender.row.peak_bytes = answer["peak_bytes"]
    contender.runs.append(float(answer["seconds"]))
    quality = contender.ask("judge", case.limit_s)
    if quality is None:
        return False
    contender.row.quality = quality
    return True


def _one_more(contender: Contender, case: Case, repeat: int) -> bool:
    """Measure once more; False when the contender has had its share, with its row complete.

    The first run warms up: its time counts only where there is no time for a second.
    """
    runs, row = contender.runs, contender.row
    if len(runs) <= repeat and sum(runs) + runs[-1] <= case.seconds:
        answer = contender.ask("run", case.limit_s)
        if answer is None:
            return False
        runs.append(float(answer["seconds"]))
        return True
    row.seconds, row.cold = runs[1:] or runs, len(runs) == 1
    contender.end("ok")
    return False
