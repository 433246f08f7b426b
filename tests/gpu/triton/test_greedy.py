"""Greedy by Triton: bit for bit the reference's on the same distances, and without a matrix."""

from __future__ import annotations

import pytest
import torch

from acs_fast.ops.problems import Problems
from acs_fast.ops.reference.facility_location import facility_location
from acs_fast.ops.reference.greedy import greedy
from acs_fast.ops.reference.packed_greedy import packed_greedy, packed_layout
from tests.gpu import cases
from tests.gpu.requirements import need_triton

PROBLEMS = [([1], [1]), ([63], [20]), ([30], [30]), ([70, 5, 1, 66], [6, 2, 1, 7])]


@pytest.fixture(autouse=True)
def triton_greedy():
    need_triton()
    from acs_fast.ops.triton import greedy

    return greedy


def packed(sizes, device, ties: bool, dtype=torch.float32):
    from acs_fast.ops.triton.distances import Packed

    layout, elements = packed_layout(torch.tensor([0, *sizes]).cumsum(0))
    data, largest = torch.full((elements,), torch.nan, dtype=dtype), []
    for i, (_, n, start, stride) in enumerate(layout.tolist()):
        x = torch.randn(n, 4, generator=torch.Generator().manual_seed(i))
        d = torch.cdist(x.round() if ties else x, x.round() if ties else x)
        data.as_strided((n, n), (stride, 1), start).copy_(torch.minimum(d, d.T))
        largest.append(torch.minimum(d, d.T).max().to(dtype))
    return Packed(data.to(device), layout, torch.stack(largest).to(device))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("sizes", "budgets"), PROBLEMS, ids=str)
def test_bit_for_bit_on_the_same_distances(triton_greedy, device, sizes, budgets, ties):
    p, b = packed(sizes, device, ties), torch.tensor(budgets)
    expected = packed_greedy(p.data.cpu(), p.layout, b, sum(budgets), p.largest.cpu(), True)
    picks, gains, assignment, objective = triton_greedy.greedy(p.layout, b, matrices=p)
    assert torch.equal(picks.cpu(), expected[0])
    assert torch.equal(gains.cpu(), expected[1])
    assert torch.equal(assignment.cpu(), expected[3])
    assert torch.equal(objective.cpu(), expected[4])


def test_a_matrix_that_is_not_symmetric(triton_greedy, device):
    from acs_fast.ops.triton.distances import Packed

    d = torch.rand(40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrices = Packed(d.flatten().to(device), torch.tensor([[0, 40, 0, 40]]), d.max()[None].to(device))
    picks, gains, assignment, _ = triton_greedy.greedy(
        matrices.layout, torch.tensor([9]), matrices=matrices, symmetric=False
    )
    expected = greedy(d, 9)
    for found, e in zip((picks, gains, assignment), expected, strict=True):
        assert torch.equal(found.cpu(), e)


@pytest.mark.parametrize("squared", [False, True])
def test_without_a_matrix(triton_greedy, device, squared):
    sizes, budgets = [40, 70], torch.tensor([5, 9])
    r, h = cases.factors(sum(sizes), 1, 3, 9)
    members, offsets = cases.grouping(sizes)
    layout = packed_layout(offsets)[0]
    factors = triton_greedy.Factors.of(r.to(device), h.to(device), True, members.to(device), layout)
    source = triton_greedy.Source.of_factors(factors, squared)
    picks, _, assignment, objective = triton_greedy.greedy(layout, budgets, source=source)
    expected = facility_location(r, h, True, squared, Problems(members, offsets, budgets, 14), 1 << 30)
    torch.testing.assert_close(objective.cpu(), expected[3], rtol=1e-5, atol=0.0)
    assert len(set(picks[:5].tolist())) == 5
    assert int(assignment.min()) == 0


@pytest.mark.parametrize("largest", [0.0, 1e-30, 0.7, 1.0, 3.3e5, 1e30])
def test_scale_is_the_reference_s(triton_greedy, largest):
    from acs_fast.ops.reference.greedy import scale_exponent

    sizes = torch.tensor([1, 2, 5000, 1 << 20])
    value = torch.full((4,), largest)
    found = triton_greedy.scale_factors(value, sizes)
    assert found.tolist() == [2.0 ** scale_exponent(float(value[0]), int(n)) for n in sizes]
