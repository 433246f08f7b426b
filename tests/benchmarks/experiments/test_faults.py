"""Faults that are made on purpose keep everything but what they break."""

import pytest
import torch

from acs_fast import LastLayerGradients, gradient_error
from acs_fast.selection import Craig, PerBatch
from benchmarks.experiments.faults import CancelledWeights, ShuffledRows, shuffled_within


def gradients(n=60, classes=3):
    """Of very different sizes, so that it matters which sample gets which weight."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % classes
    sizes = torch.randn(n, 1, generator=generator).mul(2.0).exp()
    residuals = sizes * torch.randn(n, classes, generator=generator)
    return LastLayerGradients(residuals, torch.randn(n, 5, generator=generator)), y


def test_shuffled_rows_keep_sizes_and_weights_but_not_samples():
    g, y = gradients()
    rows = shuffled_within(y, 7)
    assert torch.equal(rows.sort().values, torch.arange(60))
    assert torch.equal(y[rows], y)
    right = Craig().select(60, 18, g[rows], y, 7)
    wrong = ShuffledRows(Craig()).select(60, 18, g, y, 7)
    assert torch.equal(wrong.indices, right.indices)
    assert torch.equal(wrong.weights, right.weights)
    assert wrong.stats["relative_gradient_error"] == pytest.approx(gradient_error(g, wrong.indices, wrong.weights))
    assert wrong.stats["relative_gradient_error"] > 1.5 * right.stats["relative_gradient_error"]


def test_cancelled_weights_are_equal_and_their_error_is_measured():
    g, y = gradients()
    inner = PerBatch(Craig(), 8)
    right, wrong = (s.select(60, 18, g, y, 7) for s in (inner, CancelledWeights(inner)))
    assert torch.equal(right.indices, wrong.indices)
    assert len(right.weights.unique()) > 1
    assert wrong.weights.unique().tolist() == pytest.approx([60 / len(wrong)])
    error = gradient_error(g, wrong.indices, wrong.weights)
    assert wrong.stats["relative_gradient_error"] == pytest.approx(error)
