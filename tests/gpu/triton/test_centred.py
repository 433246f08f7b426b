"""Factors that are centred, group by group, and padded to whole loads."""

from __future__ import annotations

import pytest
import torch

from acs_fast.ops.reference import pairwise_distances as reference
from tests.gpu import cases


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("classes", [1, 10, 100, 1000])
def test_rows_of_the_factors_are_padded_to_whole_loads(triton_distances, device, classes, dtype):
    from acs_fast.ops.triton.centred import WIDTH_ALIGNMENT, Factors

    r, h = (x.to(device) for x in cases.factors(3, 1, classes, 17, dtype))
    layout, everyone = triton_distances.packed_layout(torch.tensor([0, 3]))[0], torch.arange(3, device=device)
    for x in Factors.of(r, h, True, everyone, layout).moved()[:2]:
        assert x.stride(1) % WIDTH_ALIGNMENT == 0
        assert x.stride(1) * x.itemsize % 16 == 0


def test_groups_are_centred_by_themselves(triton_distances, device):
    from acs_fast.ops.triton.centred import Factors

    sizes = [40, 1, 75]
    r, h = cases.factors(sum(sizes), 2, 3, 20)
    members, offsets = cases.grouping(sizes)
    layout = triton_distances.packed_layout(offsets)[0]
    found = Factors.of(r.to(device), h.to(device), True, members.to(device), layout)
    for i, own in enumerate(members.split(sizes)):
        expected = reference.Centred.of(r[own].double(), h[own].double(), True)
        limits = reference.Centred.of(r[own], h[own], True).limits.double()
        span = slice(int(offsets[i]), int(offsets[i + 1]))
        assert not found.q[span, :, 3:].any()
        assert not found.p[span, :, 20:].any()
        pairs = (
            (found.q[span, :, :3], expected.q), (found.p[span, :, :20], expected.p),
            (found.norms[span, 0], expected.norms), (found.norms[span, 1], limits),
            (found.own[span, 0], expected.u), (found.own[span, 1], expected.v),
            (found.means[i, 0], expected.mm), (found.means[i, 1], expected.kk),
        )  # fmt: skip
        for f, e in pairs:
            torch.testing.assert_close(f.cpu().double(), e, rtol=1e-5, atol=2e-5 * float(e.abs().max()) + 1e-5)
