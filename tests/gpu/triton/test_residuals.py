"""Residuals by Triton against the reference."""

from __future__ import annotations

import pytest
import torch

from acs_fast.ops.reference import residuals as reference
from tests.gpu.requirements import need_triton


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("batch", "classes"), [(1, 2), (5, 10), (3, 1000), (2, 5000)])
def test_equal_to_the_reference(device, batch, classes, dtype):
    need_triton()
    from acs_fast.ops.triton import residuals

    torch.manual_seed(0)
    clean, adversarial = (3.0 * torch.randn(2, batch, classes)).to(dtype)
    y = torch.randint(classes, (batch,))
    on = [x.to(device) for x in (clean, adversarial, y)]
    pairs = (
        (residuals.cross_entropy_residuals(on[0], on[2]), reference.cross_entropy_residuals(clean, y)),
        (residuals.trades_residuals(*on, 6.0), reference.trades_residuals(clean, adversarial, y, 6.0)),
    )
    for found, expected in pairs:
        assert found.dtype == expected.dtype == torch.float32
        assert float((found.cpu() - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def test_strided_logits(device):
    need_triton()
    from acs_fast.ops.triton import residuals as kernels

    logits = torch.randn(6, 9).to(device).T  # rows are not contiguous
    y = torch.arange(9).to(device) % 6
    torch.testing.assert_close(kernels.cross_entropy_residuals(logits, y), reference.cross_entropy_residuals(logits, y))
