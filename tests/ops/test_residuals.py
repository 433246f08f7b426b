"""Residuals at the logits: the reference against autograd, and what the dispatcher makes of the operators."""

import pytest
import torch
import torch.nn.functional as F

import acs_fast as acs
from acs_fast.ops import residuals

Y = torch.arange(7) % 4


def arguments(op, dtype=torch.float32):
    clean, adversarial = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    return {"cross_entropy_residuals": (clean, Y), "trades_residuals": (clean, adversarial, Y, 6.0)}[op]


@pytest.mark.parametrize("op", ["cross_entropy_residuals", "trades_residuals"])
def test_opcheck(op):
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        torch.library.opcheck(getattr(torch.ops.acs_fast, op).default, arguments(op, dtype))


@pytest.mark.parametrize("op", ["cross_entropy_residuals", "trades_residuals"])
def test_half_precision_becomes_float32_before_the_softmax(op):
    args = arguments(op, torch.bfloat16)
    found = getattr(residuals, op)(*args)
    expected = getattr(residuals, op)(*(x.float() if x is not Y and isinstance(x, torch.Tensor) else x for x in args))
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_reference_is_what_autograd_says():
    clean, adversarial = (x.double().requires_grad_() for x in arguments("trades_residuals")[:2])
    log_p, log_q = clean.log_softmax(1), adversarial.log_softmax(1)
    loss = F.nll_loss(log_p, Y, reduction="none") + 6.0 * (log_p.exp() * (log_p - log_q)).sum(1)
    expected = torch.stack(torch.autograd.grad(loss.sum(), (clean, adversarial)), 1)
    found = residuals.trades_residuals(clean, adversarial, Y, 6.0)
    torch.testing.assert_close(found, expected)
    (expected,) = torch.autograd.grad(F.cross_entropy(clean, Y, reduction="sum"), clean)
    found = residuals.cross_entropy_residuals(clean, Y)
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad


@pytest.mark.parametrize("objective", [acs.PGD(0.1, 0.1, 1), acs.TRADES(6.0, 0.1, 0.1, 1)], ids=repr)
def test_extraction_takes_the_operators(objective, monkeypatch):
    model, x = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 4)), torch.rand(7, 6)
    called = []
    for name in ["cross_entropy_residuals", "trades_residuals"]:
        op = getattr(torch.ops.acs_fast, name)
        monkeypatch.setattr(torch.ops.acs_fast, name, lambda *args, op=op, name=name: called.append(name) or op(*args))
    g = acs.last_layer_gradients(model, [(x[:4], Y[:4]), (x[4:], Y[4:])], objective)
    assert len(g) == 7
    assert called == [f"{'trades' if isinstance(objective, acs.TRADES) else 'cross_entropy'}_residuals"] * 2


def test_labels_are_checked_where_that_needs_no_waiting():
    model, x = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 4)), torch.rand(7, 6)
    for labels in (Y + 1, Y - 1):
        with pytest.raises(ValueError, match=r"labels in \[0, 4\)"):
            acs.last_layer_gradients(model, [(x, labels)], acs.Vanilla())
