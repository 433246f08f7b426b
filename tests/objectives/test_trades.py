"""The loss of TRADES, and its residuals."""

import torch

import acs_fast as acs


def test_residuals_of_certain_logits_are_finite():
    logits = torch.tensor([[1e4, 0.0, 0.0], [0.0, 1e4, 0.0], [0.0, 0.0, 0.0]]), torch.zeros(3, 3)
    y = torch.tensor([0, 0, 1])
    for pair in (logits, logits[::-1]):
        loss = acs.TRADES(6.0, 0.1, 0.03, 5).loss
        wide = tuple(z.double() for z in pair)
        exact = acs.Loss.residuals(loss, wide, y)
        torch.testing.assert_close(loss.residuals(wide, y), exact)
        torch.testing.assert_close(loss.residuals(pair, y), exact.float())


def test_trades_loss_is_the_published_one():
    torch.manual_seed(0)
    z, z_adv, y = torch.randn(6, 4), torch.randn(6, 4), torch.randint(4, (6,))
    p, q = z.softmax(1), z_adv.softmax(1)
    expected = -p[torch.arange(6), y].log() + 6.0 * (p * (p / q).log()).sum(1)
    torch.testing.assert_close(acs.TRADES(6.0, 0.1, 0.01, 1).loss.value((z, z_adv), y), expected)
