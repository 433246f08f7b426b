"""Distances and norms by Triton against the reference."""

from __future__ import annotations

import pytest
import torch

from acs_fast.ops.reference import pairwise_distances as reference
from tests.gpu import cases
from tests.gpu.requirements import need_triton

need_triton()

import triton  # noqa: E402
import triton.language as tl  # noqa: E402

from acs_fast.ops.triton.distances import first_tiles, tile_of  # noqa: E402

SHAPES = [(1, 1, 3, 5), (2, 1, 1, 1), (63, 1, 10, 17), (130, 2, 7, 33), (40, 3, 5, 6), (70, 1, 130, 40)]


@triton.jit
def places_kernel(first_tile_ptr, out_ptr, G):
    """Out [T, 3] int32: group, row tile, column tile."""
    number = tl.program_id(0)
    group, row, column = tile_of(number, first_tile_ptr, G)
    tl.store(out_ptr + number * 3, group)
    tl.store(out_ptr + number * 3 + 1, row)
    tl.store(out_ptr + number * 3 + 2, column)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_as_accurate_as_the_reference(triton_distances, device, shape, squared):
    r, h = cases.factors(*shape)
    exact = reference.pairwise_distances(r.double(), h.double(), True, squared)
    expected = reference.pairwise_distances(r, h, True, squared)
    found = triton_distances.pairwise_distances(r.to(device), h.to(device), True, squared).cpu()
    error, allowed = (found - exact).abs(), (expected - exact).abs().max() + 1e-5 * exact.max()
    assert float(error.max()) <= float(allowed)
    assert torch.equal(found, found.T)
    assert not found.diagonal().any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_accumulated_in_float32(triton_distances, device, dtype):
    r, h = cases.factors(40, 1, 5, 18, dtype)
    exact = reference.pairwise_distances(r.double(), h.double(), False, False)
    found = triton_distances.pairwise_distances(r.to(device), h.to(device), False, False).cpu()
    assert found.dtype == torch.float32
    assert float((found - exact).abs().max()) <= 1e-5 * float(exact.max())


def test_identical_samples_are_at_zero_and_close_ones_exact(triton_distances, device):
    r, h = cases.factors(63, 1, 10, 17)
    found = triton_distances.pairwise_distances(r.to(device), h.to(device), True, False).cpu()
    exact = reference.pairwise_distances(r.double(), h.double(), True, False)
    assert float(found[5, 17]) == 0.0
    assert float(found[9, 11]) == 0.0
    assert float(found[3, 4]) == pytest.approx(float(exact[3, 4]), rel=1e-5)


@pytest.mark.parametrize("precision", ["ieee", "tf32x3", "tf32", "bf16"])
def test_precision_is_selectable(triton_distances, device, precision):
    r, h = cases.factors(40, 1, 10, 20)
    exact = reference.pairwise_distances(r.double(), h.double(), True, False)
    found = triton_distances.pairwise_distances(r.to(device), h.to(device), True, False, precision=precision).cpu()
    bound = {"ieee": 1e-5, "tf32x3": 1e-5, "tf32": 2e-2, "bf16": 1e-1}[precision]
    assert float((found - exact).abs().max()) <= bound * float(exact.max())


@pytest.mark.parametrize("tile", [16, 64])
def test_groups_in_one_launch(triton_distances, device, tile):
    sizes = [70, 5, 1, 33]
    r, h = cases.factors(sum(sizes), 1, 4, 9)
    members, offsets = cases.grouping(sizes)
    packed = triton_distances.packed_distances(
        r.to(device), h.to(device), True, False, members.to(device), offsets, tile=tile
    )
    for i, (first, n, start, stride) in enumerate(packed.layout.tolist()):
        own = members[first : first + n]
        found = packed.data.as_strided((n, n), (stride, 1), start).cpu()
        exact = reference.pairwise_distances(r[own].double(), h[own].double(), True, False)
        assert float((found - exact).abs().max()) <= 1e-5 * max(1.0, float(exact.max()))
        assert float(packed.largest[i]) == float(found.max())


def test_matrices_past_two_to_the_31_elements_are_addressed(triton_distances):
    layout, elements = triton_distances.packed_layout(torch.tensor([0, 50000, 100000]))
    assert layout.dtype == torch.int64
    assert elements == 2 * 50000 * 50016 > 2**31


def offset_factors(n, passes, device):
    """Gradients that all point the same way, as those of one class do: far from zero, close to each other."""
    generator = torch.Generator().manual_seed(0)
    r = torch.randn(1, passes, 10, generator=generator) + 0.05 * torch.randn(n, passes, 10, generator=generator)
    h = 3.0 + 0.1 * torch.randn(n, passes, 40, generator=generator)
    return r.to(device), h.to(device)


@pytest.mark.parametrize("passes", [1, 2])
def test_no_digits_are_lost_where_gradients_point_the_same_way(triton_distances, device, passes, monkeypatch):
    flags, second_pass = [], triton_distances.close_pairs_kernel

    class Recorded:
        def __getitem__(self, grid):
            def launch(*args, **options):
                flags.append(args[5].clone())
                second_pass[grid](*args, **options)

            return launch

    monkeypatch.setattr(triton_distances, "close_pairs_kernel", Recorded())
    r, h = offset_factors(90, passes, device)
    exact = reference.pairwise_distances(r.double(), h.double(), True, False).cpu()
    found = triton_distances.pairwise_distances(r, h, True, False).cpu()
    assert int(flags[0].sum()) == 0, "pairs were measured twice"
    off = ~torch.eye(90, dtype=torch.bool)
    assert float(((found - exact).abs() / exact)[off].max()) <= 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("passes", [1, 2])
def test_terms_that_cancel_leave_no_rounding(triton_distances, device, passes, dtype):
    """Large residuals with small features, and factors that differ where their products do not."""
    n = 40
    powers = torch.logspace(-3, 3, n)[torch.randperm(n, generator=torch.Generator().manual_seed(0))][:, None, None]
    r, h = cases.factors(n, passes, 4, 8)
    r, h = (r * powers).to(dtype), (h / powers).to(dtype)
    r[1], h[1] = 1024.0 * r[0], h[0] / 1024.0
    exact = reference.pairwise_distances(r.double(), h.double(), False, False)
    found = triton_distances.pairwise_distances(r.to(device), h.to(device), False, False).cpu()
    assert float(found[0, 1]) <= 1e-6 * float(exact.max())
    assert bool(((found - exact).abs() <= 2e-6 * exact.max() + 2e-3 * exact).all())


@pytest.mark.parametrize("sizes", [[1], [70, 5, 1, 33], [64, 65, 16], [500]], ids=str)
def test_every_tile_has_one_number(device, sizes):
    first = first_tiles(torch.tensor(sizes), 16)
    out = torch.empty(int(first[-1]), 3, dtype=torch.int32, device=device)
    places_kernel[(len(out),)](first.to(device), out, len(sizes))
    across = [(n + 15) // 16 for n in sizes]
    expected = {(g, row, column) for g, n in enumerate(across) for column in range(n) for row in range(column + 1)}
    assert len(out) == len(expected)
    assert {tuple(place) for place in out.tolist()} == expected
