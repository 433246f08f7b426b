"""What is timed in each GPU case: the public call, the operator and its stages, and the same in torch operators.

Without a GPU everything runs on the CPU, on small shapes and with Triton's interpreter: a rehearsal of the code.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

import acs_fast
from acs_fast.ops import device as ops
from acs_fast.ops.problems import Problems
from acs_fast.ops.reference.greedy import greedy
from acs_fast.selection.common import total
from benchmarks.gpu import floors

PRECISIONS = {"tf32x3": torch.float32, "bf16": torch.bfloat16, "float64": torch.float32}
LEAST_RUNS = 3
REPEATS = 20  # of the greedy, which must pick the same each time
PUBLIC, OPERATOR, PLAIN, TORCH, PICKS = "public call", "operator", "plain products", "torch operators", "picks"
WORKSPACE_BYTES = 48 << 30


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seconds(work: Callable[[], Any], repeat: int, warm_up: int = 2, at_most_s: float = 5.0) -> list[float]:
    """Of every run, by device events; after `at_most_s` no more than the least number of runs. A single one is cold."""
    for _ in range(warm_up if repeat > 1 else 0):
        work()
    times: list[float] = []
    while len(times) < min(repeat, LEAST_RUNS) or (len(times) < repeat and sum(times) < at_most_s):
        times.append(_once(work))
    return times


def _once(work: Callable[[], Any]) -> float:
    if not torch.cuda.is_available():
        begun = time.perf_counter()
        work()
        return time.perf_counter() - begun
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def peak_bytes(work: Callable[[], Any]) -> int | None:
    """Of a GPU's memory, the inputs included; None, and nothing is done, without one."""
    if not torch.cuda.is_available():
        return None
    torch.cuda.reset_peak_memory_stats()
    work()
    return torch.cuda.max_memory_allocated()


class Work:
    """Softmax residuals of `groups` classes and correlated features, made for this run, and what is done with them."""

    def __init__(self, case: floors.Case) -> None:
        self.case = case
        self.members = torch.arange(case.samples, device=device())
        self.offsets = torch.arange(case.groups + 1) * case.size
        self.budgets = torch.full((case.groups,), case.picks)
        self.labels = self.members // case.size
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

    def stages(self) -> dict[str, Callable[[], Any]]:
        """What is timed, by name."""
        if self.case.algorithm == "gradmatch":
            return {PUBLIC: self.public_call, OPERATOR: self.match}
        return {
            PUBLIC: self.public_call, OPERATOR: self.select, "distances": self.distances, "greedy": self.greedy,
            PLAIN: self.plain_products,
        }  # fmt: skip

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
        return torch.stack([total(self.gradients[own]) for own in self.members.split(self.case.size)])

    def match(self) -> Any:
        k = int(self.budgets.sum())
        return torch.ops.acs_fast.gradient_matching(
            self.r, self.h, True, self.members, self.offsets, self.budgets, k, self.targets, 0.0
        )

    def plain_products(self) -> None:
        """What torch takes for the two products of every group, without symmetry and without an epilogue."""
        case = self.case
        r, h = (x.view(case.groups, case.size, -1) for x in (self.r, self.h))
        for part in torch.arange(case.groups).split(max(1, (4 << 30) // (4 * case.size**2))):
            own = slice(int(part[0]), int(part[-1]) + 1)
            r[own] @ r[own].mT
            h[own] @ h[own].mT

    def compared_picks(self, repeats: int = REPEATS) -> dict[str, float]:
        """How many picks of the greedy differ from the CPU's on the same distances, and over repeats."""
        first = self.greedy()[0].cpu()
        found, wanted = self.packed, []
        for _, n, start, stride in found.layout.tolist():
            matrix = found.data.as_strided((n, n), (stride, 1), start).cpu().contiguous()
            wanted.append(torch.ops.acs_fast.greedy(matrix, self.case.picks)[0])
        changed = sum(int((self.greedy()[0].cpu() != first).sum()) for _ in range(repeats - 1))
        return {"other_than_cpu": float((first != torch.cat(wanted)).sum()), "other_in_repeats": float(changed)}


class TorchWork:
    """One group of a case in torch operators: dense gradients, cdist, greedy by the reference."""

    def __init__(self, case: floors.Case) -> None:
        self.case = case
        self.gradients = Work(replace(case, groups=min(2, case.groups))).gradients[: case.size].to(torch.float32)

    def __call__(self, picks: int | None = None) -> None:
        dense = self.gradients.dense()
        greedy(torch.cdist(dense, dense), picks or self.case.picks)
