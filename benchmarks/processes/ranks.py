"""The processes of an opponent: started by a worker, told what to do over their standard input, ended with it."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks.child import Child


@dataclass(frozen=True)
class Order:
    """What one process is and does.

    Attributes:
        rank, ranks, group: its number, how many there are, and whether they form a process group.
        store: the file at which they meet.
        threads: of each.
        work, n, classes, width, fraction: as in `ProcessCase`.
    """

    rank: int
    ranks: int
    group: bool
    threads: int
    work: str
    n: int
    classes: int
    width: int
    fraction: float
    store: str = ""


class Ranks:
    """Processes that run together."""

    def __init__(self, orders: list[Order]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._processes = [_started(replace(order, store=f"{self._folder.name}/store")) for order in orders]
        self._answers()

    def run(self) -> list[dict[str, Any]]:
        """What each process took."""
        return self._ask("run")

    def measured(self) -> tuple[None, dict[str, Any]]:
        """Seconds of the slowest process and bytes of the largest; their answers stay where they are."""
        took = self.run()
        peaks = [one["peak_bytes"] for one in took]
        peak_bytes = None if None in peaks else max(peaks)
        return None, {"seconds": max(one["seconds"] for one in took), "peak_bytes": peak_bytes}

    def judge(self, answer: None) -> dict[str, float]:
        """What the answer of each is worth: that of the first, where they are in a group all the same."""
        every = self._ask("judge")
        if any(one != every[0] for one in every):
            raise RuntimeError(f"processes have different answers: {every}")
        found: dict[str, float] = every[0]
        return found

    def _ask(self, command: str) -> list[dict[str, Any]]:
        for process in self._processes:
            process.tell(command)
        return self._answers()

    def _answers(self) -> list[dict[str, Any]]:
        return [json.loads(process.answer()) for process in self._processes]


def _started(order: Order) -> Child:
    return Child(f"process {order.rank} of {order.ranks}", "-m", __package__, json.dumps(asdict(order)))
