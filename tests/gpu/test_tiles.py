"""Numbers of tiles to places: every tile on or above the diagonals once."""

from __future__ import annotations

import pytest
import torch

from tests.gpu.requirements import need_triton

need_triton()

import triton  # noqa: E402
import triton.language as tl  # noqa: E402

from acs_fast.ops.triton.distances import first_tiles, tile_of  # noqa: E402


@triton.jit
def places_kernel(first_tile_ptr, out_ptr, G):
    """Out [T, 3] int32: group, row tile, column tile."""
    number = tl.program_id(0)
    group, row, column = tile_of(number, first_tile_ptr, G)
    tl.store(out_ptr + number * 3, group)
    tl.store(out_ptr + number * 3 + 1, row)
    tl.store(out_ptr + number * 3 + 2, column)


@pytest.mark.parametrize("sizes", [[1], [70, 5, 1, 33], [64, 65, 16], [500]], ids=str)
def test_every_tile_has_one_number(device, sizes):
    first = first_tiles(torch.tensor(sizes), 16)
    out = torch.empty(int(first[-1]), 3, dtype=torch.int32, device=device)
    places_kernel[(len(out),)](first.to(device), out, len(sizes))
    across = [(n + 15) // 16 for n in sizes]
    expected = {(g, row, column) for g, n in enumerate(across) for column in range(n) for row in range(column + 1)}
    assert len(out) == len(expected)
    assert {tuple(place) for place in out.tolist()} == expected
