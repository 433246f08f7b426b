"""The common part of all benchmark cases."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from acs_fast.benchmark import worker
from acs_fast.benchmark.opponents import Opponent

REFERENCE = "ours-reference"


class Work(Protocol):
    """An opponent at work on a case, in a process of its own: `run` is timed, `judge` says what its answer is worth."""

    def run(self) -> Any: ...

    def judge(self, answer: Any) -> dict[str, float]: ...


@dataclass(frozen=True)
class Case:
    """One measurement of several opponents on the same input; a results file keeps its fields.

    Attributes:
        opponents: names of those who take part.
        not_run: names of those who are left out, and why; a row says so.
        warm_up: runs before the first measured one.
        seconds: time for each opponent, after which it is not repeated again.
        limit_s: time for one run, after which it is stopped; a row says so.
        reference: the opponent whose answer all of ours must have.
        series: the plot that this case is a point of, and its axis ("N" or "k").
        alone: opponents come one after the other, in the runner's own process: for inputs that a device's memory does
            not hold once for each of them. Nobody stops such a run.
    """

    name: str
    title: str
    opponents: tuple[str, ...] = field(default=(), kw_only=True)
    not_run: dict[str, str] = field(default_factory=dict, kw_only=True, hash=False)
    warm_up: int = field(default=0, kw_only=True)
    seconds: float = field(default=10.0, kw_only=True)
    limit_s: float = field(default=150.0, kw_only=True)
    reference: str = field(default=REFERENCE, kw_only=True)
    series: tuple[str, str] | None = field(default=None, kw_only=True)
    alone: ClassVar[bool] = False

    @property
    def size(self) -> str:
        raise NotImplementedError(f"{type(self).__name__} must define size")

    def prepare(self, opponent: Opponent, device: str) -> Work:
        """Build the input for an opponent, in the process that will run it."""
        raise NotImplementedError(f"{type(self).__name__} must define prepare(opponent, device)")

    def measured(self, work: Work, device: str) -> tuple[Any, dict[str, Any]]:
        """One run: the answer, and what it took; see `worker.measured`."""
        return worker.measured(work.run, device)
