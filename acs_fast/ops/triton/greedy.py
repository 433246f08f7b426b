"""Exact greedy facility location by three launches per pick for all groups together, the host never waiting.

Distances come from packed matrices, or straight from the factors when no matrix fits: the touched rows are then
measured again by the very tiles that measured them before, so that integers taken off a gain are those put on.

On matrices there is the CUDA greedy as well, with one launch in all. Both stay until a GPU has measured them side by
side: this one needs no compiler at installation and runs on AMD, but three launches per pick bound it from below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from acs_fast.ops.reference.greedy import MAX_BITS
from acs_fast.ops.triton.centred import DEFAULT_PRECISION, Factors, block_sizes
from acs_fast.ops.triton.distances import Packed
from acs_fast.ops.triton.factors import Given, Moved, load_group, measured_tile, squared_distance_row

ROWS, COLUMNS = 32, 64  # of a tile of touched rows and candidates
SCAN = 1024  # rows that one program compares with a new pick


class Picked(NamedTuple):
    """Picks [k] of all groups, and of each group where its own begin and how many it may have, [G] each."""

    picks: Any
    first: Any
    budgets: Any


class Touched(NamedTuple):
    """Rows lowered by the latest pick: their number in each group [G], themselves, old and new levels [N]."""

    found: Any
    row: Any
    before: Any
    after: Any


@triton.jit
def quantised(d, scale):
    """Integers, half to even: adding and taking off 1.5 * 2^52 rounds a float64 below 2^51."""
    magic = 6755399441055744.0
    return ((d.to(tl.float64) * scale + magic) - magic).to(tl.int64)


@triton.jit
def largest_kernel(
    moved, given, groups_ptr, largest_ptr,
    R: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr, SQUARED: tl.constexpr,
    CENTRED: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The largest distance of a group, without its matrix: one program per group and BN columns."""
    group = tl.program_id(0)
    first, n, _matrix, _stride = load_group(groups_ptr, group)
    j = tl.program_id(1).to(tl.int64) * BN + tl.arange(0, BN)
    if tl.program_id(1).to(tl.int64) * BN >= n:
        return
    largest = 0.0
    for start in range(0, n, BM):
        i = start + tl.arange(0, BM).to(tl.int64)
        d = measured_tile(moved, given, group, first, n, i, j, R, BM, BN, BC, BD, SQUARED, CENTRED, PRECISION)
        inside = (i < n)[:, None] & (j < n)[None, :]
        largest = tl.maximum(largest, tl.max(tl.max(tl.where(inside, d, 0.0), 1), 0))
    tl.atomic_max(largest_ptr + group, largest.to(tl.int32, bitcast=True))


@triton.jit(do_not_specialize=["step"])
def gains_kernel(
    data_ptr, moved, given, groups_ptr, scale_ptr, touched, gain_ptr, best_ptr, picked, step, tiles,
    R: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr, SQUARED: tl.constexpr,
    CENTRED: tl.constexpr, PRECISION: tl.constexpr, DENSE: tl.constexpr,
):  # fmt: skip
    """Bring the gains of BN candidates up to date with the touched rows; best [G, tiles, 2] gets gain and candidate."""
    group = tl.program_id(0)
    first, n, matrix, stride = load_group(groups_ptr, group)
    j = tl.program_id(1).to(tl.int64) * BN + tl.arange(0, BN)
    if (tl.program_id(1).to(tl.int64) * BN >= n) | (step >= tl.load(picked.budgets + group)):
        return
    scale = tl.load(scale_ptr + group)
    gain = tl.load(gain_ptr + first + j, mask=j < n, other=-1)
    found = tl.load(touched.found + group)
    change = tl.zeros((BN,), dtype=tl.int64)
    for start in range(0, found, BM):
        at = start + tl.arange(0, BM)
        listed = at < found
        i = tl.load(touched.row + first + at, mask=listed, other=0).to(tl.int64)
        before = tl.load(touched.before + first + at, mask=listed, other=0)
        after = tl.load(touched.after + first + at, mask=listed, other=0)
        if DENSE:
            places = data_ptr + matrix + i[:, None] * stride + j[None, :]
            d = tl.load(places, mask=listed[:, None] & (j < n)[None, :], other=0.0)
        else:
            d = measured_tile(moved, given, group, first, n, i, j, R, BM, BN, BC, BD, SQUARED, CENTRED, PRECISION)
        q = quantised(d, scale)
        zero = tl.zeros_like(q)
        change += tl.sum(tl.maximum(after[:, None] - q, zero) - tl.maximum(before[:, None] - q, zero), 0)
    gain = tl.where(gain >= 0, gain + change, gain)
    if step >= 0:
        gain = tl.where(j == tl.load(picked.picks + tl.load(picked.first + group) + step), -1, gain)
    tl.store(gain_ptr + first + j, gain, mask=j < n)
    best = tl.max(gain, 0)
    column = tl.min(tl.where(gain == best, j, 9223372036854775807), 0)
    place = best_ptr + (group.to(tl.int64) * tiles + tl.program_id(1)) * 2
    tl.store(place, best)
    tl.store(place + 1, column)


@triton.jit(do_not_specialize=["step"])
def pick_kernel(
    best_ptr, groups_ptr, scale_ptr, found_ptr, picked, gains_ptr, step, tiles,
    BN: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The candidate with the largest gain, the lowest number among equals, of one group."""
    group = tl.program_id(0)
    tl.store(found_ptr + group, 0)
    if step >= tl.load(picked.budgets + group):
        return
    used = tl.cdiv(tl.load(groups_ptr + group * 4 + 1), BN)
    best = tl.full((), -2, dtype=tl.int64)
    column = tl.full((), 9223372036854775807, dtype=tl.int64)
    for start in range(0, used, BLOCK):
        tile = start + tl.arange(0, BLOCK)
        place = best_ptr + (group.to(tl.int64) * tiles + tile) * 2
        gain = tl.load(place, mask=tile < used, other=-2)
        candidate = tl.load(place + 1, mask=tile < used, other=9223372036854775807)
        top = tl.max(gain, 0)
        lowest = tl.min(tl.where(gain == top, candidate, 9223372036854775807), 0)
        column = tl.where(top > best, lowest, column)  # tiles come in order: of equals the first stays
        best = tl.maximum(top, best)
    at = tl.load(picked.first + group) + step
    tl.store(picked.picks + at, column)
    tl.store(gains_ptr + at, best.to(tl.float64) / tl.load(scale_ptr + group))


@triton.jit(do_not_specialize=["step"])
def touched_kernel(
    data_ptr, given, groups_ptr, scale_ptr, picked, touched, level_ptr, assignment_ptr, step,
    R: tl.constexpr, BLOCK: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr, SQUARED: tl.constexpr,
    DENSE: tl.constexpr, SYMMETRIC: tl.constexpr,
):  # fmt: skip
    """Lower the levels of rows served better by the pick, and list them."""
    group = tl.program_id(0)
    first, n, matrix, stride = load_group(groups_ptr, group)
    i = tl.program_id(1).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    if (tl.program_id(1).to(tl.int64) * BLOCK >= n) | (step >= tl.load(picked.budgets + group)):
        return
    inside = i < n
    pick = tl.load(picked.picks + tl.load(picked.first + group) + step)
    if DENSE:
        column = pick * stride + i if SYMMETRIC else i * stride + pick
        d = tl.load(data_ptr + matrix + column, mask=inside, other=0.0)
    else:
        sample_i = tl.load(given.members + first + tl.minimum(i, n - 1))
        d = squared_distance_row(given, tl.load(given.members + first + pick), sample_i, R, BLOCK, BC, BD)
        d = tl.where(i == pick, 0.0, d if SQUARED else tl.sqrt_rn(d))
    q = quantised(d, tl.load(scale_ptr + group))
    level = tl.load(level_ptr + first + i, mask=inside, other=0)
    lower = inside & (q < level)
    count = tl.sum(lower.to(tl.int32), 0)
    if count > 0:
        at = tl.atomic_add(touched.found + group, count) + tl.cumsum(lower.to(tl.int32), 0) - 1
        tl.store(touched.row + first + at, i.to(tl.int32), mask=lower)
        tl.store(touched.before + first + at, level, mask=lower)
        tl.store(touched.after + first + at, q, mask=lower)
        tl.store(level_ptr + first + i, q, mask=lower)
        tl.store(assignment_ptr + first + i, tl.zeros((BLOCK,), dtype=tl.int64) + step, mask=lower)


@dataclass(frozen=True)
class Source:
    """A source of distances for the kernels: packed matrices, or the factors where there is no room.

    data: the matrices; where there are none, any tensor.
    factors: what to measure with; None with matrices.
    scan: rows that one program compares with a pick.
    """

    data: Tensor
    factors: Factors | None
    squared: bool = False
    scan: int = SCAN

    @classmethod
    def of_factors(cls, factors: Factors, squared: bool) -> Source:
        return cls(factors.norms, factors, squared, scan=64)

    def measuring(self) -> tuple[Moved | None, Given | None]:
        """The factors for `measured_tile`; None with matrices."""
        return (None, None) if self.factors is None else (self.factors.moved(), self.factors.given())

    def options(self) -> dict[str, Any]:
        f = self.factors
        passes, (c_block, d_block) = (1, (16, 16)) if f is None else (f.r.shape[1], block_sizes(f.r, f.h))
        return {"R": passes, "BC": c_block, "BD": d_block, "SQUARED": self.squared}

    def tile(self) -> dict[str, Any]:
        f = self.factors
        return {
            **self.options(), "BM": ROWS, "BN": COLUMNS, "CENTRED": f is not None and f.centred,
            "PRECISION": DEFAULT_PRECISION if f is None else f.precision, "num_warps": 4 if f is None else 8,
        }  # fmt: skip


def scale_factors(largest: Tensor, sizes: Tensor) -> Tensor:
    """[G] float64 powers of two, as the reference's `scale_exponent` finds them, without leaving the device."""
    bits = largest.to(torch.float64).view(torch.int64)
    exponent = torch.where(largest > 0, (bits >> 52) - 1022, torch.zeros_like(bits))
    room = torch.tensor([min(MAX_BITS, 62 - (n - 1).bit_length()) for n in sizes.tolist()])
    exponent = (room.to(largest.device, non_blocking=True) - exponent).clamp(max=1000)
    return ((exponent + 1023) << 52).view(torch.float64)


def greedy(
    layout: Tensor,
    budgets: Tensor,
    *,
    matrices: Packed | None = None,
    source: Source | None = None,
    symmetric: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Greedy within each group of `layout` (as in `Packed`), on matrices or straight from the factors.

    Returns:
        picks [k] (numbers within their group), gains [k] float64, assignment [N] to steps, objective [G] float64.
    """
    if (matrices is None) == (source is None):
        raise ValueError("either matrices or source must be given, not both")
    dense = matrices is not None
    source = source or Source(matrices.data, None)  # type: ignore[union-attr]
    device, sizes, n = source.data.device, layout[:, 1], int(layout[:, 1].sum())
    groups, each, spent = layout.to(device), sizes.to(device), budgets.to(device)
    tiles = triton.cdiv(int(sizes.max()), COLUMNS)
    grid = (len(layout), tiles)
    (moved, given), tile = source.measuring(), source.tile()
    if matrices is None:
        largest = torch.zeros(len(layout), dtype=torch.float32, device=device)
        largest_kernel[grid](moved, given, groups, largest.view(torch.int32), **tile)
    else:
        largest = matrices.largest
    scale = scale_factors(largest, sizes)
    level = torch.round(largest.to(torch.float64) * scale).to(torch.int64).repeat_interleave(each, output_size=n)
    gain, assignment = torch.zeros_like(level), torch.zeros_like(level)
    rows = torch.arange(n, device=device) - groups[:, 0].repeat_interleave(each, output_size=n)
    # at first every row is touched
    touched = Touched(each.to(torch.int32), rows.to(torch.int32), torch.zeros_like(level), level.clone())
    picks = torch.full((int(budgets.sum()),), -1, dtype=torch.int64, device=device)
    picked = Picked(picks, spent.cumsum(0) - spent, spent)
    gains = torch.empty(len(picks), dtype=torch.float64, device=device)
    best = torch.empty(len(layout), tiles, 2, dtype=torch.int64, device=device)
    scan = (len(layout), triton.cdiv(int(sizes.max()), source.scan))
    for step in range(-1, int(budgets.max())):
        if step >= 0:
            pick_kernel[grid[:1]](best, groups, scale, touched.found, picked, gains, step, tiles, BN=COLUMNS, BLOCK=256)
            touched_kernel[scan](
                source.data, given, groups, scale, picked, touched, level, assignment, step,
                **source.options(), BLOCK=source.scan, DENSE=dense, SYMMETRIC=symmetric,
            )  # fmt: skip
        gains_kernel[grid](
            source.data, moved, given, groups, scale, touched, gain, best, picked, step, tiles,
            **tile, DENSE=dense,
        )  # fmt: skip
    group_of = torch.arange(len(layout), device=device).repeat_interleave(each, output_size=n)
    objective = torch.zeros(len(layout), dtype=torch.int64, device=device).index_add_(0, group_of, level)
    return picks, gains, assignment, objective.to(torch.float64) / scale
