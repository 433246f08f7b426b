"""Last-layer gradients of models in any wrapper, of batches in any form, and what is left as it was."""

import pytest
import torch
from torch import nn

import acs_fast as acs
from acs_fast.objectives.trades import TradesLoss
from tests.helpers import ConvNet, images


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ConvNet().train()


def test_subclass_with_only_a_loss(model):
    class Smoothed(acs.PGD):
        def per_sample_loss(self, model, x, x_adv, y):
            return nn.functional.cross_entropy(model(x_adv), y, label_smoothing=0.2, reduction="none")

    x, y = images(6)
    g = acs.last_layer_gradients(model, [(x, y)], Smoothed(0.1, 0.1, 1, seed=0))
    plain = acs.last_layer_gradients(model, [(x, y)], acs.PGD(0.1, 0.1, 1, seed=0))
    smooth = 0.8 * nn.functional.one_hot(y, 5) + 0.2 / 5
    expected = plain.residuals[:, 0] + nn.functional.one_hot(y, 5) - smooth
    torch.testing.assert_close(g.residuals[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_leaves_everything_as_it_was(model):
    x, y = images(8)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=3, shuffle=True)
    acs.last_layer_gradients(model, loader, acs.TRADES(6.0, 0.1, 0.05, 2))
    assert model.training
    assert model.dropout.training
    assert all(torch.equal(model.state_dict()[k], v) for k, v in before.items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_images_are_read_in_the_dtype_of_the_model(model):
    x, y = images(6)
    expected = acs.last_layer_gradients(model, [(x, y)], acs.Vanilla()).dense()
    found = acs.last_layer_gradients(model, [(x.double().numpy(), y.numpy())], acs.Vanilla())  # as NumPy computes
    assert torch.equal(found.dense(), expected)
    low = acs.last_layer_gradients(model.bfloat16(), [(x, y)], acs.Vanilla())
    torch.testing.assert_close(low.dense(), expected, rtol=0.1, atol=0.05)


def test_wrappers_autocast_and_heads_agree(model):
    x, y = images(8)
    expected = acs.last_layer_gradients(model, [(x, y)], acs.Vanilla()).dense()

    def found(model, **options):
        return acs.last_layer_gradients(model, [(x, y)], acs.Vanilla(), **options).dense()

    assert torch.equal(found(nn.DataParallel(model)), expected)
    assert torch.equal(found(torch.compile(model, backend="eager")), expected)
    assert torch.equal(found(model, head="head"), expected)
    assert torch.equal(found(model, head=model.head), expected)
    with torch.autocast("cpu", torch.bfloat16):
        low = acs.last_layer_gradients(model, [(x, y)], acs.Vanilla())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.dense(), expected, rtol=0.1, atol=0.05)

    def features_fn(model, x):
        h = nn.functional.max_pool2d(torch.relu(model.norm(model.conv(x))), 2).flatten(1)
        h = torch.relu(model.hidden(h))
        return h, model.head(h)

    torch.testing.assert_close(found(model, features_fn=features_fn), expected)


def test_ddp_wrapper(model, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(model)
        x, y = images(8)
        objective = acs.PGD(0.1, 0.05, 2, seed=0)
        g = acs.last_layer_gradients(wrapped, [(x, y)], objective)
        expected = acs.last_layer_gradients(model, [(x, y)], acs.PGD(0.1, 0.05, 2, seed=0))
        assert torch.equal(g.dense(), expected.dense())
        for trained in (objective, acs.GradAlignFGSM(0.1, seed=0), acs.FGSMPGI(0.1, seed=0)):
            for _ in range(2):  # training still works around it: no reduction is left unfinished
                trained.per_sample_loss(wrapped, x, trained.perturb(wrapped, x, y), y).mean().backward()
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "batch",
    [
        lambda x, y: (x, y, torch.arange(len(y))),
        lambda x, y: [x, y],
        lambda x, y: {"image": x, "label": y},
        lambda x, y: {"pixel_values": x, "labels": y.tolist()},
    ],
)
def test_batches_of_any_form(batch, model):
    x, y = images(6)
    expected = acs.last_layer_gradients(model, [(x, y)], acs.Vanilla()).dense()
    assert torch.equal(acs.last_layer_gradients(model, [batch(x, y)], acs.Vanilla()).dense(), expected)


def test_batch_adapter(model):
    x, y = images(6)
    odd = [type("Batch", (), {"pictures": x, "classes": y})()]
    g = acs.last_layer_gradients(model, odd, acs.Vanilla(), batch_adapter=lambda b: (b.pictures, b.classes))
    assert len(g) == 6


def test_bad_input_is_named(model):
    x, y = images(6)
    with pytest.raises(ValueError, match="batches must yield at least one sample"):
        acs.last_layer_gradients(model, [], acs.Vanilla())
    with pytest.raises(TypeError, match=r"batches must be \(x, y\) tuples, lists or dicts; got int"):
        acs.last_layer_gradients(model, [3], acs.Vanilla())
    with pytest.raises(TypeError, match=r"got keys \['a'\]: use batch_adapter"):
        acs.last_layer_gradients(model, [{"a": x}], acs.Vanilla())
    with pytest.raises(ValueError, match=r"y must hold labels in \[0, 5\)"):
        acs.last_layer_gradients(model, [(x, y + 3)], acs.Vanilla())
    with pytest.raises(ValueError, match=r"head must name .*; got 'fc'\. Its linear layers: hidden"):
        acs.last_layer_gradients(model, [(x, y)], acs.Vanilla(), head="fc")
    with pytest.raises(TypeError, match=r"head must be an nn.Linear; got Conv2d"):
        acs.last_layer_gradients(model, [(x, y)], acs.Vanilla(), head="conv")
    with pytest.raises(ValueError, match=r"this Linear is not part of it"):
        acs.last_layer_gradients(model, [(x, y)], acs.Vanilla(), head=nn.Linear(2, 2))
    with pytest.raises(TypeError, match="objective must have perturb"):
        acs.last_layer_gradients(model, [(x, y)], 3)
    with pytest.raises(ValueError, match=r"It has no linear layer"):
        acs.last_layer_gradients(nn.Sequential(nn.Conv2d(1, 5, 8), nn.Flatten()), [(x, y)], acs.Vanilla())


def test_nan_names_the_samples(model):
    x, y = images(8)

    class Poisoned(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            h = x.clone()
            h[x[:, 0, 0, 0] == 0.125] = float("nan")
            return self.inner(h)

    x[[2, 5], 0, 0, 0] = 0.125
    # dropout of the rest: the batch norm is in eval mode, so the others stay finite
    with pytest.raises(ValueError, match="gradients must be finite; NaN or infinity in samples 2, 5"):
        acs.last_layer_gradients(Poisoned(), [(x, y)], acs.Vanilla(), head="inner.head")


def test_residuals_follow_a_changed_loss(model):
    """No closed form is inherited by another loss, or another objective."""

    class Smoothed(TradesLoss):
        def value(self, logits, y):
            return nn.functional.cross_entropy(logits[1], y, label_smoothing=0.3, reduction="none")

    class Tenfold(acs.PGD):
        def per_sample_loss(self, model, x, x_adv, y):
            return 10.0 * super().per_sample_loss(model, x, x_adv, y)

    x, y = images(6)
    g = acs.last_layer_gradients(
        model, [(x, y)], acs.Objective(acs.TRADES(6.0, 0.1, 0.0, 1, seed=0).attack, Smoothed(6.0))
    )
    z = (g.features[:, 1] @ model.head.weight.T + model.head.bias).detach()
    smooth = 0.7 * nn.functional.one_hot(y, 5) + 0.3 / 5
    torch.testing.assert_close(g.residuals[:, 1], z.softmax(1) - smooth)
    assert float(g.residuals[:, 0].abs().max()) == 0.0
    plain = acs.last_layer_gradients(model, [(x, y)], acs.WithAttack(lambda x, y: x))
    tenfold = acs.last_layer_gradients(model, [(x, y)], acs.WithAttack(lambda x, y: x, Tenfold(0.1, 0.1, 1)))
    torch.testing.assert_close(tenfold.dense(), 10.0 * plain.dense())
    with pytest.raises(TypeError, match="features_fn needs an objective whose loss alone says what a sample costs"):
        acs.last_layer_gradients(model, [(x, y)], Tenfold(0.1, 0.1, 1), features_fn=lambda m, x: (x, x))


def test_rude_attacks_leave_no_trace(model):
    def attack(x, y):
        model.train()
        model(x)
        return x

    x, y = images(6)
    mean = model.norm.running_mean.clone()
    acs.last_layer_gradients(model, [(x, y)], attack)
    assert torch.equal(model.norm.running_mean, mean)
    with torch.no_grad():
        acs.last_layer_gradients(model, [(x, y)], lambda x, y: x + 0 * torch.autograd.grad(
            model(x.requires_grad_()).sum(), x)[0])  # fmt: skip
    with torch.inference_mode():
        assert acs.PGD(0.1, 0.1, 2).perturb(model, x + 0, y).shape == x.shape


def test_empty_batches_are_passed_over(model):
    x, y = images(6)
    g = acs.last_layer_gradients(model, [(x[:0], y[:0]), (x.numpy(), y.numpy()), (x[:0], y[:0])], acs.Vanilla())
    assert len(g) == 6
