"""One opponent on one case: builds the input, then runs on demand and reports; mostly in a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from acs_fast._util.memory import SHARE, workspace_bytes

MEMORY_SHARE = 0.9  # of the free memory; an allocation above it fails here instead of ending someone else's process
STATUS = Path("/proc/self/status")


def main(connection: Connection, case: Any, opponent: Any, device: str, threads: int) -> None:
    """Answer "run" and "judge" with a dictionary each, until "stop" or the end of the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner's to handle
    os.dup2(2, 1)  # what a peer prints is no result
    torch.set_num_threads(threads)
    if device == "cpu":
        _limit_memory()
    serve(connection, case, opponent, device)


def serve(connection: Connection, case: Any, opponent: Any, device: str) -> None:
    """`main` without what it changes in its process."""
    station = Station(case, opponent, device)
    command = "prepare"
    try:
        while command != "stop":
            answer = station.ask(command)
            if command == "prepare":
                gc.collect()
                gc.freeze()  # what was imported need not be looked at before every run
            connection.send(answer)
            if "status" in answer:
                return
            command = connection.recv()
    except EOFError:
        return
    finally:
        gc.unfreeze()


class Station:
    """An opponent at a case, who is told to "prepare", to "run" and to "judge" the last run's answer."""

    def __init__(self, case: Any, opponent: Any, device: str) -> None:
        self.case, self.opponent, self.device = case, opponent, device
        self.work: Any = None
        self.answer: Any = None

    def ask(self, command: str) -> dict[str, Any]:
        """What came of it; a status and its reason where nothing did."""
        try:
            done: dict[str, Any] = getattr(self, command)()
        except Exception as error:  # whatever a peer raises is a row, not the end of the run
            return {"status": "out of memory" if _is_memory(error) else "failed", "reason": _reason(error)}
        return done

    def prepare(self) -> dict[str, Any]:
        self.work = self.case.prepare(self.opponent, self.device)
        for _ in range(self.case.warm_up):
            self.work.run()
        return {"ready": True}

    def run(self) -> dict[str, Any]:
        self.answer = None
        self.answer, took = self.case.measured(self.work, self.device)
        return dict(took)

    def judge(self) -> dict[str, Any]:
        return dict(self.work.judge(self.answer))


def measured(work: Callable[[], Any], device: str) -> tuple[Any, dict[str, Any]]:
    """Seconds on the clock and the peak above what was there before, in bytes (None: unknown), of one call."""
    gc.collect()
    on_gpu = torch.device(device).type == "cuda"
    before = _start_on_gpu() if on_gpu else _start_on_cpu()
    start = time.perf_counter()
    result = work()
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if on_gpu else _status_bytes("VmHWM")
    return result, {"seconds": seconds, "peak_bytes": None if before is None or peak is None else max(0, peak - before)}


def _start_on_gpu() -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _start_on_cpu() -> int | None:
    """Resident bytes now, which the peak is set to (Linux); what earlier work has freed is given back before."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    return _status_bytes("VmRSS")


def _status_bytes(field: str) -> int | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:  # not Linux
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":")), None)


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit = int(workspace_bytes(torch.device("cpu")) / SHARE * MEMORY_SHARE)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _is_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in text


def _reason(error: Exception) -> str:
    if wanted := re.search(r"tried to allocate (\d+) bytes", str(error)):
        return f"could not allocate {int(wanted[1]) / 2**30:.1f} GiB more"
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:160]}"
