"""What is timed in each GPU case: the public call, the operator and its stages, and the same in torch operators.

Without a GPU everything runs on the CPU, on small shapes and with Triton's interpreter: a rehearsal of the code.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import acs_fast
from acs_fast.ops import device as ops
from acs_fast.ops.problems import Problems
from acs_fast.ops.reference.greedy import greedy
from acs_fast.selection.common import total

if TYPE_CHECKING:
    from benchmarks.gpu.cases import GpuCase

PRECISIONS = {"tf32x3": torch.float32, "bf16": torch.bfloat16, "float64": torch.float32}
REPEATS = 20  # of the greedy, which must pick the same each time
DISTANCES, GREEDY = "distances", "greedy"
PUBLIC, OPERATOR, PLAIN, TORCH, PICKS = "public call", "operator", "plain products", "torch operators", "picks"
WORKSPACE_BYTES = 48 << 30


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """An answer, its seconds by device events, and the peak of a GPU's memory, the inputs included."""
    if not torch.cuda.is_available():
        begun = time.perf_counter()
        answer = work()
        return answer, {"seconds": time.perf_counter() - begun, "peak_bytes": None}
    torch.cuda.reset_peak_memory_stats()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    answer = work()
    end.record()
    end.synchronize()
    return answer, {"seconds": start.elapsed_time(end) / 1e3, "peak_bytes": torch.cuda.max_memory_allocated()}


def median_seconds(work: Callable[[], Any], repeat: int) -> float:
    """Of some runs, after two that warm up."""
    for _ in range(2):
        work()
    return statistics.median(timed(work)[1]["seconds"] for _ in range(repeat))


class Work:
    """Softmax residuals of `groups` classes and correlated features, made for this run, and what is done with them."""

    def __init__(self, case: GpuCase) -> None:
        self.case = case
        self.members = torch.arange(case.samples, device=device())
        self.offsets = torch.arange(case.groups + 1) * case.per_group
        self.budgets = torch.full((case.groups,), case.picks)
        self.labels = self.members // case.per_group
        self.r, self.h = self._factors()

    def _factors(self) -> tuple[Tensor, Tensor]:
        """[N, 1, C] and [N, 1, D]."""
        torch.manual_seed(0)
        case, dtype, on = self.case, PRECISIONS[self.case.precision], device()
        r = torch.empty(case.samples, 1, case.classes, dtype=dtype, device=on)
        h = torch.empty(case.samples, 1, case.width, dtype=dtype, device=on)
        base = torch.randn(16, case.width, device=on)
        for part in self.members.split(1 << 17):
            own = slice(int(part[0]), int(part[-1]) + 1)
            y = (self.labels[own] if case.groups > 1 else part) % case.classes
            logits = 2.0 * torch.randn(len(part), case.classes, device=on)
            r[own, 0] = (logits.softmax(1) - torch.nn.functional.one_hot(y, case.classes)).to(dtype)
            z = torch.randn(len(part), 16, device=on) @ base + torch.randn(len(part), case.width, device=on)
            h[own, 0] = z.relu().to(dtype)
        return r, h

    def stage(self, name: str) -> Callable[[], Any]:
        """What is timed."""
        operator = self.match if self.case.algorithm == "gradmatch" else self.select
        return {
            PUBLIC: self.public_call, OPERATOR: operator, DISTANCES: self.distances, GREEDY: self.greedy,
            PLAIN: self.plain_products, PICKS: self.compared_picks,
        }[name]  # fmt: skip

    @property
    def gradients(self) -> acs_fast.LastLayerGradients:
        return acs_fast.LastLayerGradients(self.r, self.h)

    def public_call(self) -> acs_fast.Coreset:
        """What a user calls: with the checks of its inputs, and the gradient error of what it found."""
        matching = self.case.algorithm == "gradmatch"
        call = acs_fast.gradient_matching if matching else acs_fast.facility_location
        return call(self.gradients, self.case.share, groups=self.labels if self.case.groups > 1 else None)

    def select(self) -> Any:
        problems = Problems(self.members, self.offsets, self.budgets, int(self.budgets.sum()))
        return ops.facility_location(self.r, self.h, True, False, problems, WORKSPACE_BYTES)

    def distances(self) -> Any:
        from acs_fast.ops.triton.distances import packed_distances

        return packed_distances(self.r, self.h, True, False, self.members, self.offsets)

    @cached_property
    def packed(self) -> Any:
        return self.distances()

    def greedy(self) -> Any:
        """On distances that are there already."""
        found, by = self.packed, ops.kernels(torch.float32).greedy
        k = int(self.budgets.sum())
        return ops._solve_packed(found.data, found.layout, self.budgets, k, found.largest, True, by)

    @cached_property
    def targets(self) -> Tensor:
        return torch.stack([total(self.gradients[own]) for own in self.members.split(self.case.per_group)])

    def match(self) -> Any:
        k = int(self.budgets.sum())
        return torch.ops.acs_fast.gradient_matching(
            self.r, self.h, True, self.members, self.offsets, self.budgets, k, self.targets, 0.0
        )

    def plain_products(self) -> None:
        """What torch takes for the two products of every group, without symmetry and without an epilogue."""
        case = self.case
        r, h = (x.view(case.groups, case.per_group, -1) for x in (self.r, self.h))
        for part in torch.arange(case.groups).split(max(1, (4 << 30) // (4 * case.per_group**2))):
            own = slice(int(part[0]), int(part[-1]) + 1)
            r[own] @ r[own].mT
            h[own] @ h[own].mT

    def compared_picks(self) -> dict[str, float]:
        """How many picks of the greedy differ from the CPU's on the same distances, and over repeats."""
        first = self.greedy()[0].cpu()
        found, wanted = self.packed, []
        for _, n, start, stride in found.layout.tolist():
            matrix = found.data.as_strided((n, n), (stride, 1), start).cpu().contiguous()
            wanted.append(torch.ops.acs_fast.greedy(matrix, self.case.picks)[0])
        changed = sum(int((self.greedy()[0].cpu() != first).sum()) for _ in range(self.case.repeats - 1))
        return {"other_than_cpu": float((first != torch.cat(wanted)).sum()), "other_in_repeats": float(changed)}


class TorchWork:
    """One group of a case in torch operators: dense gradients, cdist, greedy by the reference."""

    def __init__(self, case: GpuCase) -> None:
        self.case = case
        self.gradients = Work(replace(case, groups=min(2, case.groups))).gradients[: case.per_group].to(torch.float32)

    def __call__(self, picks: int | None = None) -> None:
        dense = self.gradients.dense()
        greedy(torch.cdist(dense, dense), picks or self.case.picks)


@dataclass(frozen=True)
class Stage:
    """A stage at work. What it returns is let go before the next one, unless it is what the picks were compared to."""

    work: Callable[[], Any]
    keeps: bool

    def run(self) -> Any:
        answer = self.work()
        return answer if self.keeps else None

    def judge(self, answer: dict[str, float] | None) -> dict[str, float]:
        return answer or {}


_HELD: dict[GpuCase, Work] = {}


def prepare(case: GpuCase, stage: str) -> Stage:
    """The inputs of a case are made once for all of its stages, and are gone before those of the next."""
    if case not in _HELD:
        _HELD.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    if stage == TORCH:
        by_torch = TorchWork(case)
        by_torch(picks=2)  # loads its kernels
        return Stage(by_torch, keeps=False)
    if case not in _HELD:
        _HELD[case] = Work(case)
    return Stage(_HELD[case].stage(stage), keeps=stage == PICKS)
