"""Distances between factored gradients: block-diagonal over groups, both products of a tile in registers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from acs_fast.ops.reference.packed_greedy import ROW_ALIGNMENT, packed_layout
from acs_fast.ops.triton.centred import DEFAULT_PRECISION, Factors, block_sizes
from acs_fast.ops.triton.factors import inner_product_tile, load_group, squared_distance_row

STRIP = 16  # rows of a tile that one program of the second pass looks at


@triton.jit
def tile_of(number, first_tile_ptr, G):
    """Group, row tile and column tile (not left of it) of a tile; first_tile [G + 1] int32: each group's."""
    low, high = number * 0, number * 0 + G
    while high - low > 1:
        middle = (low + high) // 2
        reached = tl.load(first_tile_ptr + middle) <= number
        low, high = tl.where(reached, middle, low), tl.where(reached, high, middle)
    within = number - tl.load(first_tile_ptr + low)
    column = ((tl.sqrt(8.0 * within + 1.0) - 1.0) / 2.0).to(tl.int32)  # rounding may be off by one
    column = tl.where(column * (column + 1) // 2 > within, column - 1, column)
    column = tl.where((column + 1) * (column + 2) // 2 <= within, column + 1, column)
    return low, within - column * (column + 1) // 2, column


@triton.jit
def store_symmetric(out_ptr, d, top, left, n, stride, B: tl.constexpr):
    """Write the entries of d [B, B] above the diagonal, and their mirror image; d begins at row top and column left.

    Within a tile the places are 32-bit: 64-bit ones of all entries spill registers.
    """
    at, step = tl.arange(0, B), stride.to(tl.int32)
    i, j = top.to(tl.int32) + at, left.to(tl.int32) + at
    above = (i[:, None] < j[None, :]) & (j[None, :] < n)
    tl.store(out_ptr + (top * stride + left) + (at[:, None] * step + at[None, :]), d, mask=above)
    mirrored = (i[None, :] < j[:, None]) & (j[:, None] < n)
    tl.store(out_ptr + (left * stride + top) + (at[:, None] * step + at[None, :]), tl.trans(d), mask=mirrored)


@triton.jit
def distances_kernel(
    moved, groups_ptr, first_tile_ptr, out_ptr, largest_ptr, close_ptr, G,
    R: tl.constexpr, B: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr, SQUARED: tl.constexpr, CENTRED: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """One tile on or above the diagonal of one group's matrix.

    groups [G, 4] int64: first member, size, first element of the matrix, row stride; first_tile as in `tile_of`.
    Pairs too close for the expansion are left at -1 and reported in close [T].
    """
    tile = tl.program_id(0)
    group, row_tile, column_tile = tile_of(tile, first_tile_ptr, G)
    first, n, matrix, stride = load_group(groups_ptr, group)
    top, left = row_tile.to(tl.int64) * B, column_tile.to(tl.int64) * B
    i, j = top + tl.arange(0, B), left + tl.arange(0, B)
    member_i = first + tl.minimum(i, n - 1)
    member_j = first + tl.minimum(j, n - 1)
    inner = inner_product_tile(moved, group, member_i, member_j, R, B, B, BC, BD, CENTRED, PRECISION)
    norm_i, norm_j = moved.norms + 2 * member_i, moved.norms + 2 * member_j
    squared = tl.maximum(tl.load(norm_i)[:, None] + tl.load(norm_j)[None, :] - 2.0 * inner, 0.0)
    limit = tl.load(norm_i + 1)[:, None] + tl.load(norm_j + 1)[None, :]
    above = (i[:, None] < j[None, :]) & (j[None, :] < n)
    close = above & (squared <= limit) & (limit > 0.0)
    d = squared if SQUARED else tl.sqrt_rn(squared)
    largest = tl.max(tl.where(above & (close == 0), d, 0.0))
    tl.atomic_max(largest_ptr + group, largest.to(tl.int32, bitcast=True))  # floats >= 0 are ordered as their bits
    tl.store(close_ptr + tile, tl.max(close.to(tl.int32)))
    d = tl.where(close, -1.0, d)
    store_symmetric(out_ptr + matrix, d, top, left, n, stride, B)
    tl.store(out_ptr + matrix + i * stride + i, tl.zeros((B,), dtype=tl.float32), mask=(i == j) & (i < n))


@triton.jit
def close_pairs_kernel(
    given, groups_ptr, first_tile_ptr, out_ptr, largest_ptr, close_ptr, G,
    R: tl.constexpr, B: tl.constexpr, BC: tl.constexpr, BD: tl.constexpr, ROWS: tl.constexpr, SQUARED: tl.constexpr,
):  # fmt: skip
    """Measure pairs left at -1 by the first pass, ROWS rows of a tile, from the difference of their factors."""
    tile = tl.program_id(0)
    if tl.load(close_ptr + tile) == 0:
        return
    group, row_tile, column_tile = tile_of(tile, first_tile_ptr, G)
    first, n, matrix, stride = load_group(groups_ptr, group)
    j = column_tile.to(tl.int64) * B + tl.arange(0, B)
    sample_j = tl.load(given.members + first + tl.minimum(j, n - 1))
    top = row_tile.to(tl.int64) * B + tl.program_id(1) * ROWS
    for row in range(ROWS):
        i = top + row
        place = out_ptr + matrix + i * stride + j
        close = tl.load(place, mask=(j > i) & (j < n), other=0.0) < 0.0
        if tl.max(close.to(tl.int32), 0) > 0:
            sample_i = tl.load(given.members + first + i)
            d = squared_distance_row(given, sample_i, sample_j, R, B, BC, BD)
            d = d if SQUARED else tl.sqrt_rn(d)
            tl.store(place, d, mask=close)
            tl.store(out_ptr + matrix + j * stride + i, d, mask=close)
            largest = tl.max(tl.where(close, d, 0.0), 0)
            tl.atomic_max(largest_ptr + group, largest.to(tl.int32, bitcast=True))


@dataclass(frozen=True)
class Packed:
    """One distance matrix per group, side by side in `data`.

    layout: [G, 4] int64 on the CPU, as `packed_layout` returns it.
    largest: [G] the largest distance of each group, on the device.
    """

    data: Tensor
    layout: Tensor
    largest: Tensor


def first_tiles(sizes: Tensor, tile: int) -> Tensor:
    """[G + 1] int32: number of the first tile of each group, tiles being those on and above the diagonals."""
    across = (sizes + tile - 1).div(tile, rounding_mode="floor")
    return torch.cat([torch.zeros_like(sizes[:1]), (across * (across + 1) // 2).cumsum(0)]).to(torch.int32)


def packed_distances(
    residuals: Tensor, features: Tensor, bias: bool, squared: bool, members: Tensor, offsets: Tensor,
    *, precision: str = DEFAULT_PRECISION, tile: int | None = None, alignment: int = ROW_ALIGNMENT,
) -> Packed:  # fmt: skip
    """Distances within each group.

    Args:
        residuals, features: [N, R, C] and [N, R, D], float32, float16 or bfloat16.
        members: [N] int64 on the device; offsets: [G + 1] int64 on the CPU.
        precision: of products of float32 factors: "ieee", "tf32x3" (as accurate), "tf32" or "bf16".
        tile: rows and columns of a tile, a power of two; by default what the registers hold.
    """
    tile = tile or tile_size(residuals)
    layout, elements = packed_layout(offsets, alignment)
    device = residuals.device
    data = torch.empty(elements, dtype=torch.float32, device=device)
    largest = torch.zeros(len(layout), dtype=torch.float32, device=device)
    if not len(members):
        return Packed(data, layout, largest)
    factors = Factors.of(residuals, features, bias, members, layout, precision)
    counted = first_tiles(layout[:, 1], tile)
    groups, first, tiles = layout.to(device, non_blocking=True), counted.to(device, non_blocking=True), int(counted[-1])
    close = torch.empty(tiles, dtype=torch.int32, device=device)
    passes, (c_block, d_block) = residuals.shape[1], block_sizes(residuals, features)
    bits = largest.view(torch.int32)
    distances_kernel[(tiles,)](
        factors.moved(), groups, first, data, bits, close, len(layout),
        R=passes, B=tile, BC=c_block, BD=d_block, SQUARED=squared, CENTRED=factors.centred, PRECISION=precision,
        num_warps=warps_for(residuals.dtype),
    )  # fmt: skip
    close_pairs_kernel[(tiles, tile // STRIP)](
        factors.given(), groups, first, data, bits, close, len(layout),
        R=passes, B=tile, BC=c_block, BD=d_block, ROWS=STRIP, SQUARED=squared, num_warps=4,
    )  # fmt: skip
    return Packed(data, layout, largest)


def tile_size(residuals: Tensor) -> int:
    """Rows and columns of a tile, as many as registers hold without spilling: 128 on Hopper, not on Blackwell."""
    several = residuals.shape[1] > 1
    if residuals.dtype == torch.float32:
        return 32 if several else 64
    hopper = residuals.is_cuda and not torch.version.hip and torch.cuda.get_device_capability(residuals.device)[0] == 9
    return 128 if hopper and not several else 64


def warps_for(dtype: torch.dtype) -> int:
    """Warps per tile."""
    return 4 if dtype == torch.float32 else 8


def pairwise_distances(
    residuals: Tensor, features: Tensor, bias: bool, squared: bool, *, precision: str = DEFAULT_PRECISION
) -> Tensor:
    """[N, N] float32 distances of all pairs."""
    n = len(residuals)
    members, offsets = torch.arange(n, device=residuals.device), torch.tensor([0, n])
    packed = packed_distances(residuals, features, bias, squared, members, offsets, precision=precision, alignment=1)
    return packed.data.view(n, n)
