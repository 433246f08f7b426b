"""Worker processes with one thread each, fed one run at a time; they end with their parent."""

from __future__ import annotations

import multiprocessing as mp
import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Task:
    """One run: its config, where the data is, and its folder."""

    key: str
    config: dict[str, Any]
    source: str
    folder: str


class Pool:
    """At most `jobs` processes; give them tasks while `free`, and take (task, result, error) as they finish."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._idle: list[Connection] = []
        self._busy: dict[Connection, Task] = {}
        self._processes: list[Any] = []

    @property
    def free(self) -> bool:
        return len(self._busy) < self._jobs

    def submit(self, task: Task) -> None:
        connection = self._idle.pop() if self._idle else self._start()
        connection.send(task)
        self._busy[connection] = task

    def finished(self) -> Iterator[tuple[Task, dict[str, Any] | None, str]]:
        """Wait for at least one running task.

        Raises:
            RuntimeError: a worker died (for example for want of memory).
        """
        for connection in wait(list(self._busy)):
            task = self._busy.pop(connection)
            try:
                result, error = connection.recv()
            except EOFError:
                raise RuntimeError(f"the worker process of run {task.key} died") from None
            self._idle.append(connection)
            yield task, result, error

    def _start(self) -> Connection:
        for name in THREADS:
            os.environ[name] = "1"
        context = mp.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        self._processes.append(process)
        return ours

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()


def _work(connection: Connection) -> None:
    """Answers each task with (result, "") or (None, what went wrong); ends when the parent has gone."""
    import torch

    from benchmarks.experiments.trial import run_trial

    torch.set_num_threads(1)
    while True:
        try:
            task: Task = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer = run_trial(task.config, task.source, Path(task.folder)), ""
        except KeyboardInterrupt:
            return
        except Exception as error:
            traceback.print_exc()
            answer = None, f"{type(error).__name__}: {error}"
        try:
            connection.send(answer)
        except OSError:
            return
