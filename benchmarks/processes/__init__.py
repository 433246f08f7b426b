"""Selection across processes: two of one thread each against one of one thread, and against two that never meet.

Every opponent is a set of processes that a worker starts and asks together. A run takes as long as its slowest process,
and its memory is that of its largest one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from acs_fast.benchmark import Case, Opponent
from acs_fast.benchmark.case import Work
from benchmarks.experiments.trial import source
from benchmarks.processes.ranks import Order, Ranks

REPEAT, SECONDS = 7, 40.0
TWO = ("one", "two", "apart")


def _opponent(title: str, kind: str, ranks: int, group: bool, threads: int = 1) -> Opponent:
    return Opponent(title, kind, __name__, {"ranks": ranks, "group": group, "threads": threads}, devices=("cpu",))


OPPONENTS = {
    "one": _opponent("one process of one thread", "ours", 1, group=False),
    "two": _opponent("two processes of one thread each", "ours", 2, group=True),
    "group-of-one": _opponent("a process group of one, one thread", "ours", 1, group=True),
    "apart": _opponent("two processes that never meet, half of the work each", "bound", 2, group=False),
    "two-threads": _opponent("one process of two threads", "control", 1, group=False, threads=2),
}


@dataclass(frozen=True)
class ProcessCase(Case):
    """Work that processes share.

    Attributes:
        work: a name from `benchmarks.processes.work.WORK`.
        n, classes, width: N samples in C classes, D features; images have neither.
        fraction: part of the samples that is selected.
    """

    work: str
    n: int
    classes: int = 10
    width: int = 512
    fraction: float = 0.1
    base: str = "one"  # that speed-ups are told over
    reference: str = field(default="one", kw_only=True)

    @property
    def size(self) -> str:
        if self.work in ("attack", "step"):
            return f"{self.n:,} images of 28 x 28, PGD with ten steps on a small network"
        return f"N = {self.n:,} in {self.classes} classes, C = {self.classes}, D = {self.width}, k = N / 10"

    def prepare(self, opponent: Opponent, device: str) -> Ranks:
        options = opponent.options
        apart = options["ranks"] > 1 and not options["group"]
        case = self.halved() if apart else self
        facts = {
            "work": case.work,
            "n": case.n,
            "classes": case.classes,
            "width": case.width,
            "fraction": case.fraction,
        }
        return Ranks([Order(rank=rank, **facts, **options) for rank in range(options["ranks"])])

    def halved(self) -> ProcessCase:
        """Half of the work: half of the classes, or of the images; of one problem over all, half of its pairs."""
        if self.work == "global":
            return replace(self, n=round(self.n / math.sqrt(2)))
        if self.work == "per-class":
            return replace(self, n=self.n // 2, classes=self.classes // 2)
        return replace(self, n=self.n // 2)

    def measured(self, work: Work, device: str) -> tuple[Any, dict[str, Any]]:
        assert isinstance(work, Ranks)
        return work.measured()


def _images() -> dict[str, str]:
    """Nobody attacks real images where there are none."""
    try:
        source(None)
    except ValueError as error:
        return dict.fromkeys((*TWO, "two-threads"), str(error))
    return {}


NO_IMAGES = _images()
CASES = (
    ProcessCase(
        "processes-attack", "attack pass over Fashion-MNIST", "attack", 2_048, seconds=SECONDS, not_run=NO_IMAGES,
        opponents=() if NO_IMAGES else (*TWO, "two-threads"),
    ),
    ProcessCase(
        "processes-per-class", "CRAIG, one problem per class", "per-class", 50_000, seconds=SECONDS, opponents=TWO
    ),
    ProcessCase(
        "processes-global", "CRAIG, one problem over all samples", "global", 20_000, seconds=SECONDS, opponents=TWO
    ),
    ProcessCase(
        "processes-step", "a step that selects", "step", 2_048, seconds=SECONDS, opponents=("one", "group-of-one")
    ),
)  # fmt: skip
QUICK = tuple(replace(case, n=128, width=16, classes=4) for case in CASES)
