"""The GPU cases: CRAIG and GradMatch whole and by stages, what torch makes of the same, and the picks once more.

Stages share their inputs, of which a device's memory holds one, so that no stage has a process of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from acs_fast.benchmark import Case, Opponent
from acs_fast.benchmark.case import Work
from benchmarks.gpu import work
from benchmarks.gpu.work import DISTANCES, GREEDY, OPERATOR, PICKS, PLAIN, PUBLIC, REPEATS, TORCH, timed


def _stage(name: str, kind: str = "ours", title: str = "", note: str = "") -> Opponent:
    return Opponent(title or name, kind, work.__name__, {"stage": name}, note=note)


OPPONENTS = {
    **{name: _stage(name) for name in (PUBLIC, OPERATOR, DISTANCES, GREEDY)},
    **{name: _stage(name, "control") for name in (PLAIN, PICKS)},
    TORCH: _stage(TORCH, "control", f"one group by {TORCH}", "one group"),
}


@dataclass(frozen=True)
class GpuCase(Case):
    """CRAIG or GradMatch over `groups` equal groups of `size` samples; the bar is that of the stage `judged`."""

    algorithm: str
    groups: int
    per_group: int
    classes: int
    width: int
    share: float
    precision: str
    bar_seconds: float
    judged: str = PUBLIC
    repeats: int = REPEATS
    warm_up: int = field(default=1, kw_only=True)
    seconds: float = field(default=5.0, kw_only=True)
    alone: ClassVar[bool] = True

    @property
    def size(self) -> str:
        return f"{self.groups} x {self.per_group:,}, C = {self.classes:,}, D = {self.width:,}, {self.precision}"

    @property
    def samples(self) -> int:
        return self.groups * self.per_group

    @property
    def picks(self) -> int:
        return int(self.share * self.per_group)

    def small(self) -> GpuCase:
        """The same work on shapes for a rehearsal, which Triton's interpreter takes a second for; run once."""
        precision = "tf32x3" if self.precision == "bf16" else self.precision
        shape = {"groups": min(2, self.groups), "per_group": 8, "classes": 3, "width": 8, "precision": precision}
        return replace(self, **shape, repeats=2, warm_up=0, seconds=0.0)

    def once(self, stage: str) -> GpuCase:
        """For a control that is measured a single time, after all cases."""
        return replace(self, opponents=(stage,), warm_up=0, seconds=0.0)

    def prepare(self, opponent: Opponent, device: str) -> Work:
        return work.prepare(self, **opponent.options)

    def measured(self, work: Work, device: str) -> tuple[Any, dict[str, Any]]:
        return timed(work.run)


CRAIG, MATCHING = (PUBLIC, OPERATOR, DISTANCES, GREEDY, PLAIN), (PUBLIC, OPERATOR)
CASES = (
    GpuCase(
        "craig-cifar10", "CRAIG, 50,000 in 10 classes, 30 %", "craig", 10, 5000, 10, 512, 0.3, "tf32x3", 0.025,
        opponents=CRAIG,
    ),
    GpuCase(
        "craig-imagenet", "CRAIG, ImageNet-1k's size per class in bf16, 30 %", "craig", 1000, 1281, 1000, 2048, 0.3,
        "bf16", 0.5, opponents=CRAIG,
    ),
    GpuCase(
        "craig-global", "CRAIG, one problem of 50,000, 30 %", "craig", 1, 50000, 10, 512, 0.3, "tf32x3", 0.25, GREEDY,
        opponents=CRAIG,
    ),
    GpuCase(
        "gradmatch-cifar10", "GradMatch, 50,000 in 10 classes, 30 %", "gradmatch", 10, 5000, 10, 512, 0.3, "float64",
        1.0, opponents=MATCHING,
    ),
)  # fmt: skip


def controls(cases: list[GpuCase]) -> list[GpuCase]:
    """Beside the times: the picks of the first case, and every case in torch operators."""
    craig = [case for case in cases if case.algorithm == "craig"]
    return [case.once(PICKS) for case in craig[:1]] + [case.once(TORCH) for case in craig]
