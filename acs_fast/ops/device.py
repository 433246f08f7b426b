"""Operators on a GPU: the choice of kernels for each part, and groups in waves as memory allows.

Distances come from Triton or torch, the greedy from the compiled module, Triton or torch; any pair works.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from acs_fast._util.dtypes import accumulable_dtype
from acs_fast.ops import compiled
from acs_fast.ops.checks import checked
from acs_fast.ops.cuda import packed_greedy as cuda
from acs_fast.ops.picking import Picking, Result
from acs_fast.ops.problems import Problems
from acs_fast.ops.reference import facility_location as reference
from acs_fast.ops.reference import gradient_matching as reference_matching
from acs_fast.ops.reference import pairwise_distances as distances
from acs_fast.ops.reference import residuals
from acs_fast.ops.reference.packed_greedy import packed_greedy, packed_layout
from acs_fast.ops.report import note_path, stage
from acs_fast.ops.toolchain import why_no_triton

LOGGER = logging.getLogger("acs_fast")


@dataclass(frozen=True)
class Kernels:
    """The kernels of each part: distances by "triton" or "torch", the greedy by "cuda", "triton" or "torch"."""

    distances: str
    greedy: str

    def __str__(self) -> str:
        return f"distances by {self.distances}, greedy by {self.greedy}"


def has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def has_cuda_greedy() -> bool:
    """Whether the compiled module brought its CUDA greedy."""
    return compiled.why_missing("cuda") is None


def kernels(dtype: torch.dtype, backend: str = "auto") -> Kernels:
    """The best pair available; "triton" takes the greedy from Triton too, "cuda" from the compiled module."""
    triton = has_triton() and backend != "reference"
    by = "triton" if triton else "torch"
    if backend in ("auto", "cuda") and has_cuda_greedy():
        by = "cuda"
    return Kernels("triton" if triton and dtype != torch.float64 else "torch", by)


def automatic(op: str, where: torch.device) -> tuple[str, ...]:
    """The GPU backends of `auto` for an operator on the GPU `where`, of those with kernels of their own."""
    there = has_triton() and op != "packed_greedy" and why_no_triton(op, where) is None
    found = ("triton",) if there else ()
    greedy_too = op in ("greedy", "facility_location", "packed_greedy") and has_cuda_greedy()
    return (*found, "cuda") if greedy_too else found


def pairwise_distances(residuals: Tensor, features: Tensor, bias: bool, squared: bool) -> Tensor:
    """As the reference; float64 is left to torch."""
    if kernels(residuals.dtype).distances == "torch":
        return distances.pairwise_distances(residuals, features, bias, squared)
    from acs_fast.ops.triton import distances as triton_distances

    with torch.cuda.device_of(residuals), stage("distances"):
        return triton_distances.pairwise_distances(residuals, features, bias, squared)


def greedy_on_matrix(matrix: Tensor, budget: int, backend: str = "auto") -> tuple[Tensor, Tensor, Tensor]:
    """As the reference, the host not waiting between picks."""
    n = len(matrix)
    if not budget:
        nothing = torch.zeros(0, dtype=torch.int64, device=matrix.device)
        return nothing, nothing.double(), nothing.new_zeros(n)
    layout, budgets = torch.tensor([[0, n, 0, n]]), torch.tensor([budget])
    flat = matrix.contiguous().view(-1)
    by = kernels(matrix.dtype, backend).greedy
    with torch.cuda.device_of(matrix):
        picks, gains, _, assignment, _ = _solve_packed(flat, layout, budgets, budget, flat.amax()[None], False, by)
    return picks, gains, assignment


def facility_location(
    residuals: Tensor,
    features: Tensor,
    bias: bool,
    squared: bool,
    problems: Problems,
    workspace_bytes: int,
    backend: str = "auto",
) -> Result:
    """As the reference: groups in waves, as many matrices as fit in `workspace_bytes`; larger ones without a matrix."""
    picking = Picking.of(problems)
    members, offsets, budgets, _ = picking.problems
    problem = _Problem(
        residuals.contiguous(), features.contiguous(), bias, squared, members.to(residuals.device), offsets, budgets,
        kernels(residuals.dtype, backend),
    )  # fmt: skip
    with torch.cuda.device_of(residuals):  # Triton launches on the current device
        parts = [problem.solve(a, b, dense) for a, b, dense in problem.waves(workspace_bytes)]
    return picking.answer(parts, residuals.device)


@dataclass(frozen=True)
class _Problem:
    r: Tensor
    h: Tensor
    bias: bool
    squared: bool
    members: Tensor
    offsets: Tensor
    budgets: Tensor
    by: Kernels

    def waves(self, workspace_bytes: int) -> Iterator[tuple[int, int, bool]]:
        """First and last group (exclusive), and whether their matrices are formed."""
        sizes = self.offsets.diff()
        strides = packed_layout(self.offsets)[0][:, 3]
        factors = self.r[:1].nbytes + self.h[:1].nbytes  # a copy of them is centred
        matrices = sizes * strides * accumulable_dtype(self.r.dtype).itemsize
        needed = (matrices + sizes * factors).tolist()
        start, planned = 0, 0
        for i, bytes_ in enumerate(needed):
            alone = not reference.is_dense(int(sizes[i]), self.r.dtype, workspace_bytes)
            if start < i and (alone or planned + bytes_ > workspace_bytes):
                yield start, i, True
                start, planned = i, 0
            if alone:
                yield i, i + 1, False
                start = i + 1
            else:
                planned += bytes_
        if start < len(needed):
            yield start, len(needed), True

    def solve(self, a: int, b: int, dense: bool) -> Result:
        """Groups a to b; when their matrices do not fit after all, fewer at a time, and at last without a matrix."""
        if not dense:
            return self._solve_free(a, b)
        try:
            found = self._solve_dense(a, b)
            note_path("dense")
            return found
        except torch.OutOfMemoryError:
            LOGGER.info("out of memory for the distances of %d groups: taking less at a time", b - a)
        if b - a == 1:
            return self._solve_free(a, b)
        parts = (self.solve(a, (a + b) // 2, True), self.solve((a + b) // 2, b, True))
        indices, weights, gains, objectives = (torch.cat(x) for x in zip(*parts, strict=True))
        return indices, weights, gains, objectives

    def _span(self, a: int, b: int) -> tuple[Tensor, Tensor, Tensor]:
        """Members, offsets from 0 and budgets of groups a to b."""
        low, high = int(self.offsets[a]), int(self.offsets[b])
        return self.members[low:high], self.offsets[a : b + 1] - low, self.budgets[a:b]

    def _solve_dense(self, a: int, b: int) -> Result:
        members, offsets, budgets = self._span(a, b)
        flat, layout, largest = self._packed(members, offsets)
        k = int(budgets.sum())
        with stage("greedy"):
            picks, gains, weights, _, objective = _solve_packed(flat, layout, budgets, k, largest, True, self.by.greedy)
        return _members_of(picks, members, offsets, budgets), weights, gains, objective

    def _packed(self, members: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.by.distances == "triton":
            from acs_fast.ops.triton.distances import packed_distances

            with stage("distances"):
                found = packed_distances(self.r, self.h, self.bias, self.squared, members, offsets)
            return found.data, found.layout, found.largest
        layout, elements = packed_layout(offsets)
        data = torch.empty(elements, dtype=accumulable_dtype(self.r.dtype), device=self.r.device)
        largest = []
        for first, n, start, stride in layout.tolist():
            group = members[first : first + n]
            d = distances.pairwise_distances(self.r[group], self.h[group], self.bias, self.squared)
            d = torch.minimum(d, d.T)  # symmetric to the last bit
            data.as_strided((n, n), (stride, 1), start).copy_(d)
            largest.append(d.amax())
        return data, layout, torch.stack(largest)

    def _solve_free(self, a: int, b: int) -> Result:
        if not has_triton() or self.r.dtype == torch.float64:
            budgets = self.budgets[a:b]
            left = Problems(self.members, self.offsets[a : b + 1], budgets, int(budgets.sum()))
            return reference.facility_location(self.r, self.h, self.bias, self.squared, left, 0)
        from acs_fast.ops.triton import centred
        from acs_fast.ops.triton import greedy as triton_greedy

        members, offsets, budgets = self._span(a, b)
        layout = packed_layout(offsets)[0]
        factors = centred.Factors.of(self.r, self.h, self.bias, members, layout)
        source = triton_greedy.Source.of_factors(factors, self.squared)
        note_path("matrix-free")
        with stage("greedy"):
            picks, gains, assignment, objective = triton_greedy.greedy(layout, budgets, source=source)
        weights = _weights(assignment, layout, budgets)
        return _members_of(picks, members, offsets, budgets), weights, gains, objective


def _solve_packed(
    flat: Tensor, layout: Tensor, budgets: Tensor, budget: int, largest: Tensor, symmetric: bool, by: str
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    if by == "cuda":
        return cuda.packed_greedy(flat, layout, budgets, budget, largest, symmetric)
    if by == "torch":
        return packed_greedy(flat, layout, budgets, budget, largest, symmetric)
    from acs_fast.ops.triton import greedy as triton_greedy
    from acs_fast.ops.triton.distances import Packed

    matrices = Packed(flat, layout, largest)
    picks, gains, assignment, objective = triton_greedy.greedy(layout, budgets, matrices=matrices, symmetric=symmetric)
    return picks, gains, _weights(assignment, layout, budgets), assignment, objective


def _weights(assignment: Tensor, layout: Tensor, budgets: Tensor) -> Tensor:
    """[k] float32: how many samples each pick serves, from assignment [N] to steps."""
    device = assignment.device
    first = (budgets.cumsum(0) - budgets).to(device)
    of_sample = first.repeat_interleave(layout[:, 1].to(device), output_size=len(assignment)) + assignment
    counts = torch.zeros(int(budgets.sum()), dtype=torch.int64, device=device)
    return counts.index_add_(0, of_sample, torch.ones_like(assignment)).to(torch.float32)


def _members_of(picks: Tensor, members: Tensor, offsets: Tensor, budgets: Tensor) -> Tensor:
    """Numbers among all samples of picks [k] that are numbered within their group."""
    first = offsets[:-1].to(picks.device).repeat_interleave(budgets.to(picks.device), output_size=len(picks))
    return members[first + picks]


def gradient_matching(
    residuals: Tensor, features: Tensor, bias: bool, problems: Problems, targets: Tensor, ridge: float
) -> Result:
    """As the reference, all groups together; by the reference where Triton is too old for the GPU."""
    if residuals.device.type == "cuda" and why_no_triton("gradient_matching", residuals.device) is not None:
        return reference_matching.gradient_matching(residuals, features, bias, problems, targets, ridge)
    from acs_fast.ops.triton import gradient_matching as triton_matching

    with torch.cuda.device_of(residuals):  # Triton launches on the current device
        return triton_matching.gradient_matching(residuals, features, bias, problems, targets, ridge)


def cross_entropy_residuals(logits: Tensor, labels: Tensor) -> Tensor:
    """As the reference, in one launch; float64 is left to torch."""
    if logits.dtype == torch.float64:
        return residuals.cross_entropy_residuals(logits, labels)
    from acs_fast.ops.triton import residuals as triton_residuals

    with torch.cuda.device_of(logits):  # Triton launches on the current device
        return triton_residuals.cross_entropy_residuals(logits, labels)


def trades_residuals(clean: Tensor, adversarial: Tensor, labels: Tensor, beta: float) -> Tensor:
    """As the reference, in one launch; float64 is left to torch."""
    if clean.dtype == torch.float64:
        return residuals.trades_residuals(clean, adversarial, labels, beta)
    from acs_fast.ops.triton import residuals as triton_residuals

    with torch.cuda.device_of(clean):
        return triton_residuals.trades_residuals(clean, adversarial, labels, beta)


IMPLEMENTATIONS: dict[str, dict[str, Callable[..., Any]]] = {
    "pairwise_distances": {"triton": pairwise_distances},
    "greedy": {name: partial(greedy_on_matrix, backend=name) for name in ("triton", "cuda")},
    "facility_location": {name: partial(facility_location, backend=name) for name in ("triton", "cuda")},
    "gradient_matching": {"triton": gradient_matching},
}


def register(library: torch.library.Library) -> None:
    """Make these the dispatcher's choice for tensors on a GPU, where there is anything better than the reference."""
    found: dict[str, Callable[..., Any]] = {}
    if has_triton() or has_cuda_greedy():
        found |= {"pairwise_distances": pairwise_distances, "greedy": greedy_on_matrix}
        found["facility_location"] = facility_location
    if has_triton():
        found["gradient_matching"] = gradient_matching
        found |= {"cross_entropy_residuals": cross_entropy_residuals, "trades_residuals": trades_residuals}
    if has_cuda_greedy():
        found["packed_greedy"] = cuda.packed_greedy
    for op, implementation in found.items():
        library.impl(op, checked(op, implementation), "CUDA")
