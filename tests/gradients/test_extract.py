"""Last-layer gradients of models against vmap(grad), for any model, batch and objective."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

import acs_fast as acs
from acs_fast.objectives.balls import ball
from acs_fast.objectives.trades import TradesLoss
from tests.helpers import ConvNet, images

OBJECTIVES = {
    "vanilla": acs.Vanilla,
    "pgd": lambda: acs.PGD(0.1, 0.03, 3, seed=3),
    "pgd-l2": lambda: acs.PGD(0.5, 0.2, 3, norm="l2", seed=3),
    "fgsm": lambda: acs.FGSM(0.1, seed=3),
    "nfgsm": lambda: acs.NFGSM(0.1, seed=3),
    "fgsm-pgi": lambda: acs.FGSMPGI(0.1, seed=3),
    "atta": lambda: acs.ATTA(0.1, seed=3),
    "trades": lambda: acs.TRADES(6.0, 0.1, 0.03, 3, seed=3),
    "perceptual": lambda: acs.PerceptualAT(0.5, 3, seed=3),
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ConvNet().train()


def dense(found):
    """Gradients by parameter as rows: the weight's row-major, then the bias's."""
    return torch.cat([found[name].flatten(1) for name in ("head.weight", "head.bias") if name in found], 1)


def head_of(model):
    return {name: p.detach() for name, p in model.named_parameters() if name.startswith("head.")}


def dense_reference(model, objective, x, x_adv, y):
    """Per-sample gradients of the head by automatic differentiation, in float64."""

    def loss(parameters, views, label):
        logits = tuple(functional_call(model, parameters, (v[None],)) for v in views)
        return objective.loss.value(logits, label[None])[0]

    return dense(vmap(grad(loss), (None, 0, 0))(head_of(model), objective.loss.views(x, x_adv), y))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_matches_vmap_grad(name):
    torch.manual_seed(0)
    model = ConvNet().double()
    x, y = images(11)
    x = x.double()
    objective = OBJECTIVES[name]()
    batches = [(x[:4], y[:4]), (x[4:], y[4:])]
    g = acs.last_layer_gradients(model, batches, objective)
    again = OBJECTIVES[name]()
    model.eval()
    expected = [dense_reference(model, again, a, again.perturb(model, a, b), b) for a, b in batches]
    torch.testing.assert_close(g.dense(), torch.cat(expected), rtol=1e-9, atol=1e-9)
    assert g.dtype == torch.float64


def aligned_reference(model, objective, x, x_adv, noisy, y):
    """The gradient-alignment loss in its textbook form, differentiated twice by torch.func."""

    def loss(parameters, x, x_adv, noisy, label):
        def cross_entropy(v):
            return nn.functional.cross_entropy(functional_call(model, parameters, (v[None],)), label[None])

        a, b = (grad(cross_entropy)(v).flatten() for v in (x, noisy))
        return cross_entropy(x_adv) + objective.lam * (1.0 - torch.dot(a, b) / (a.norm() * b.norm()))

    return dense(vmap(grad(loss), (None, 0, 0, 0, 0))(head_of(model), x, x_adv, noisy, y))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sharpness", [1.0, 30.0])
@pytest.mark.parametrize("lam", [0.2, 50.0])
def test_gradient_alignment_matches_vmap_grad_of_its_whole_loss(bias, sharpness, lam):
    torch.manual_seed(0)
    model = ConvNet().double()
    model.head = nn.Linear(8, 5, bias=bias).double()
    model.head.weight.data *= sharpness
    x, y = images(11)
    x = x.double()
    batches = [(x[:4], y[:4]), (x[4:], y[4:])]
    g = acs.last_layer_gradients(model, batches, acs.GradAlignFGSM(0.1, lam=lam, seed=3))
    again = acs.GradAlignFGSM(0.1, lam=lam, seed=3)
    model.eval()
    expected = []
    for a, b in batches:
        noisy = ball("linf", 0.1).random(a, again.attack.generator(torch.device("cpu")))
        expected.append(aligned_reference(model, again, a, again.perturb(model, a, b), noisy, b))
    expected = torch.cat(expected)
    plain = acs.last_layer_gradients(model, batches, acs.GradAlignFGSM(0.1, lam=0.0, seed=3)).dense()
    assert float((expected - plain).norm()) > 1e-3 * float(plain.norm())  # the penalty is part of what is compared
    torch.testing.assert_close(g.dense(), expected, rtol=1e-8, atol=1e-9)
    assert g.residuals.shape == (11, 5, 5)


def test_gradient_alignment_of_certain_samples_is_their_cross_entropy():
    torch.manual_seed(0)
    model = ConvNet().double()
    model.head.bias.data[2] = 1e4
    x, y = images(5)
    x, y = x.double(), torch.tensor([2, 2, 0, 1, 2])
    g = acs.last_layer_gradients(model, [(x, y)], acs.GradAlignFGSM(0.1, lam=1.0, seed=3))
    assert (g.dense()[y == 2] == 0).all()
    assert torch.isfinite(g.dense()).all()
    assert (g.squared_norms()[y != 2] > 0).all()


class SlopePenalty:
    """A user's loss with a penalty on two input gradients that come out of the same pass."""

    def perturb(self, model, x, y):
        return x

    def per_sample_loss(self, model, x, x_adv, y):
        x = x.detach().requires_grad_()
        z = model(x)
        slopes = [torch.autograd.grad(z[:, k].sum(), x, create_graph=True)[0] for k in (0, 3)]
        return nn.functional.cross_entropy(z, y, reduction="none") + sum(s.square().flatten(1).sum(1) for s in slopes)


def test_users_penalty_on_input_gradients_is_exact():
    torch.manual_seed(0)
    model = ConvNet().double().eval()
    x, y = images(6)
    x = x.double()

    def loss(parameters, x, label):
        def logit(v, k):
            return functional_call(model, parameters, (v[None],))[0, k]

        penalty = sum(grad(logit)(x, k).square().sum() for k in (0, 3))
        return nn.functional.cross_entropy(functional_call(model, parameters, (x[None],)), label[None]) + penalty

    expected = dense(vmap(grad(loss), (None, 0, 0))(head_of(model), x, y))
    g = acs.last_layer_gradients(model, [(x, y)], SlopePenalty())
    torch.testing.assert_close(g.dense(), expected, rtol=1e-9, atol=1e-10)
    assert g.residuals.shape == (6, 3, 5)


class Margin:
    """A user's objective: no base class, two passes, a loss of its own."""

    def perturb(self, model, x, y):
        return (x + 0.05).clamp(0, 1)

    def per_sample_loss(self, model, x, x_adv, y):
        clean, adversarial = model(x), model(x_adv)
        return (clean - adversarial).square().sum(1) - adversarial.gather(1, y[:, None])[:, 0]


class MarginLoss(acs.Loss):
    """The same loss as a part to compose."""

    def views(self, x, x_adv):
        return x, x_adv

    def value(self, logits, y):
        clean, adversarial = logits
        return (clean - adversarial).square().sum(1) - adversarial.gather(1, y[:, None])[:, 0]


def test_user_objective_through_autograd_at_the_logits():
    torch.manual_seed(0)
    model = ConvNet().double()
    x, y = images(6)
    x = x.double()
    g = acs.last_layer_gradients(model, [(x, y)], Margin())
    model.eval()
    x_adv = Margin().perturb(model, x, y)
    composed = acs.Objective(acs.Vanilla().attack, MarginLoss())
    expected = dense_reference(model, composed, x, x_adv, y)
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
    """A closed form that was inherited no longer holds when the loss, or what passes through the model, changes."""

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


def test_logits_changed_in_place_are_noticed():
    class Tempered(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            z = self.fc(input=x)
            z /= 4.0
            return z

    torch.manual_seed(0)
    model, x, y = Tempered(), torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1])
    with pytest.raises(ValueError, match="head was not found"):
        acs.last_layer_gradients(model, [(x, y)], acs.Vanilla())
    g = acs.last_layer_gradients(model, [(x, y)], acs.Vanilla(), head="fc")
    torch.testing.assert_close(g.residuals[:, 0], (model(x).softmax(1) - nn.functional.one_hot(y, 3)).detach() / 4.0)


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


def test_autocast_does_not_reach_the_products(model):
    g = acs.LastLayerGradients(torch.randn(40, 5), torch.randn(40, 64))
    plain = (g.gram(), g.total(), acs.pairwise_distances(g), acs.facility_location(g, 10).indices)
    with torch.autocast("cpu", torch.bfloat16):
        inside = (g.gram(), g.total(), acs.pairwise_distances(g), acs.facility_location(g, 10).indices)
    assert all(torch.equal(a, b) for a, b in zip(plain, inside, strict=True))


def test_empty_batches_are_passed_over(model):
    x, y = images(6)
    g = acs.last_layer_gradients(model, [(x[:0], y[:0]), (x.numpy(), y.numpy()), (x[:0], y[:0])], acs.Vanilla())
    assert len(g) == 6
