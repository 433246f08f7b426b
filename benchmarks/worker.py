"""One opponent on one case in a process of its own: builds the input, then runs when told to and says what it took."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import resource
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from acs_fast._util.memory import SHARE, workspace_bytes
from benchmarks import problem as problems
from benchmarks.cases import Case
from benchmarks.peers import OPPONENTS

MEMORY_SHARE = 0.9  # of the free memory; an allocation above it fails here instead of ending someone else's process
STATUS = Path("/proc/self/status")


def main(connection: Connection, case: Case, name: str, device: str, threads: int) -> None:
    """Answer "run" and "quality" with a dictionary each, until "stop" or the end of the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner's to handle
    os.dup2(2, 1)  # what a peer prints is no result
    torch.set_num_threads(threads)
    answer: Any = None
    try:
        if device == "cpu":
            _limit_memory()
        solve = OPPONENTS[name].solver(case.task)
        problem = problems.build(case, device)
        gc.collect()
        gc.freeze()  # what was imported need not be looked at before every run
        connection.send({"ready": True})
        while (command := connection.recv()) != "stop":
            if command == "run":
                answer = None
                answer, took = measured(lambda: solve(problem), device)
                connection.send(took)
            else:
                connection.send(problems.quality(case, problem, answer))
    except EOFError:
        return
    except Exception as error:  # whatever a peer raises is a row, not the end of the run
        connection.send({"status": "out of memory" if _is_memory(error) else "failed", "reason": _reason(error)})


def measured(work: Any, device: str) -> tuple[Any, dict[str, float]]:
    """Seconds on the clock and the peak above what was there before, in bytes, of one call."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        _reset_peak()
        before = _status_bytes("VmRSS")
    start = time.perf_counter()
    result = work()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else _status_bytes("VmHWM")
    return result, {"seconds": seconds, "peak_bytes": max(0, peak - before)}


def _reset_peak() -> None:
    """Set the process's peak resident size to its present one (Linux)."""
    with contextlib.suppress(OSError):  # the peak then includes that of building the input
        Path("/proc/self/clear_refs").write_text("5")


def _status_bytes(field: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def _limit_memory() -> None:
    limit = int(workspace_bytes(torch.device("cpu")) / SHARE * MEMORY_SHARE)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _is_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in text


def _reason(error: Exception) -> str:
    if wanted := re.search(r"tried to allocate (\d+) bytes", str(error)):
        limit = resource.getrlimit(resource.RLIMIT_DATA)[0] / 2**30
        return f"could not allocate {int(wanted[1]) / 2**30:.1f} GiB more below its limit of {limit:.1f} GiB"
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:160]}"
