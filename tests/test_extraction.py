"""Last-layer gradients of models against vmap(grad), for any model, batch and objective."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

import acs_fast as acs
from tests.helpers import ConvNet, images

OBJECTIVES = {
    "vanilla": acs.Vanilla,
    "pgd": lambda: acs.PGD(0.1, 0.03, 3, seed=3),
    "pgd-l2": lambda: acs.PGD(0.5, 0.2, 3, norm="l2", seed=3),
    "fgsm": lambda: acs.FGSM(0.1, seed=3),
    "trades": lambda: acs.TRADES(6.0, 0.1, 0.03, 3, seed=3),
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ConvNet().train()


def dense_reference(model, objective, x, x_adv, y):
    """Per-sample gradients of the head by automatic differentiation, in float64."""
    model = ConvNet().double().eval() if model is None else model
    head = {"head.weight": model.head.weight.detach(), "head.bias": model.head.bias.detach()}

    def loss(parameters, a, b, label):
        logits = tuple(functional_call(model, parameters, (v[None],)) for v in objective.views(a, b))
        return objective.loss_from_logits(logits, label[None])[0]

    found = vmap(grad(loss), (None, 0, 0, 0))(head, x, x_adv, y)
    return torch.cat([found["head.weight"].flatten(1), found["head.bias"]], 1)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_matches_vmap_grad(name):
    torch.manual_seed(0)
    model = ConvNet().double()
    x, y = images(11)
    x = x.double()
    objective = OBJECTIVES[name]()
    g = acs.last_layer_gradients(model, [(x[:4], y[:4]), (x[4:], y[4:])], objective)
    again = OBJECTIVES[name]()
    x_adv = torch.cat([again.perturb(model, x[:4], y[:4]), again.perturb(model, x[4:], y[4:])])
    model.eval()
    torch.testing.assert_close(g.dense(), dense_reference(model, objective, x, x_adv, y), rtol=1e-9, atol=1e-9)
    assert g.dtype == torch.float64


class Margin:
    """A user's objective: no base class, two passes, a loss of its own."""

    def perturb(self, model, x, y):
        return (x + 0.05).clamp(0, 1)

    def per_sample_loss(self, model, x, x_adv, y):
        clean, adversarial = model(x), model(x_adv)
        return (clean - adversarial).square().sum(1) - adversarial.gather(1, y[:, None])[:, 0]

    def views(self, x, x_adv):
        return x, x_adv

    def loss_from_logits(self, logits, y):
        clean, adversarial = logits
        return (clean - adversarial).square().sum(1) - adversarial.gather(1, y[:, None])[:, 0]


def test_user_objective_through_autograd_at_the_logits():
    torch.manual_seed(0)
    model = ConvNet().double()
    x, y = images(6)
    x = x.double()
    g = acs.last_layer_gradients(model, [(x, y)], Margin())
    model.eval()
    expected = dense_reference(model, Margin(), x, Margin().perturb(model, x, y), y)
    torch.testing.assert_close(g.dense(), expected, rtol=1e-9, atol=1e-9)
    assert g.residuals.shape == (6, 2, 5)


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
        for _ in range(2):  # training still works around it: no reduction is left unfinished
            objective.per_sample_loss(wrapped, x, objective.perturb(wrapped, x, y), y).mean().backward()
    finally:
        torch.distributed.destroy_process_group()


def test_get_classifier_is_used():
    class Timmish(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.fc = nn.Linear(4, 3), nn.Linear(3, 2)

        def get_classifier(self):
            return self.fc

        def forward(self, x):
            return self.fc(self.body(x).relu())

    g = acs.last_layer_gradients(Timmish(), [(torch.rand(3, 4), torch.tensor([0, 1, 1]))], acs.Vanilla())
    assert g.features.shape == (3, 1, 3)


def test_head_without_bias_and_scaled_output():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3, bias=False)

        def forward(self, x):
            return self.fc(x) / 0.5

    torch.manual_seed(0)
    model, x, y = Scaled(), torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1])
    with pytest.raises(ValueError, match=r"head was not found: .* Its linear layers: fc \(4 -> 3\)"):
        acs.last_layer_gradients(model, [(x, y)], acs.Vanilla())
    g = acs.last_layer_gradients(model, [(x, y)], acs.Vanilla(), head="fc")  # by autograd, since the output is scaled
    expected = 2.0 * (model(x).softmax(1) - nn.functional.one_hot(y, 3))
    torch.testing.assert_close(g.residuals[:, 0], expected)
    assert not g.bias


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
    with pytest.raises(ValueError, match="batches must yield at least one batch"):
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
