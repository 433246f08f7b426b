"""One test for each defect found in published code, so that none of them comes back here."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs
from acs_fast._util.randomness import derived_seed
from acs_fast.evaluation import robust_accuracy
from acs_fast.selection import Craig
from acs_fast.training.validation import FINAL_RESTARTS, FINAL_STEPS
from tests.helpers import ConvNet, brute_force_greedy, images, make_gradients


def build(selector="craig", n=60, **options):
    torch.manual_seed(7)
    x, y = images(n)
    settings = {"fraction": 0.3, "epochs": 8, "period": 2, "warm_start": 0.25, **options}
    objective = acs.PGD(0.1, 0.05, 2, seed=1)
    return acs.AdversarialCoreset(ConvNet(), TensorDataset(x, y), objective, selector, **settings)


def test_picks_are_of_the_samples_they_name():
    """Gradients were read through a shuffling sampler and mapped back as if in order."""
    coreset = build(Craig(per_class=False), warm_start=0.0)
    coreset.step(0)
    dense = coreset.gradients(derived_seed("selection", 0, 0)).gradients.dense().double()
    picks, _ = brute_force_greedy(torch.cdist(dense, dense).numpy(), 18)
    overlap = len(set(picks) & set(coreset.current.indices.tolist())) / 18
    assert overlap > 0.9  # chance is 0.3; last bits may break a near tie


def test_trades_selection_gradient_is_that_of_its_training_loss():
    """Beta was applied twice."""
    torch.manual_seed(0)
    model = ConvNet().double().eval()
    x, y = images(9)
    objective = acs.TRADES(6.0, 0.1, 0.05, 3, seed=2)
    total = acs.last_layer_gradients(model, [(x.double(), y)], objective).total()
    again = acs.TRADES(6.0, 0.1, 0.05, 3, seed=2)
    loss = again.per_sample_loss(model, x.double(), again.perturb(model, x.double(), y), y).sum()
    weight, bias = torch.autograd.grad(loss, [model.head.weight, model.head.bias])
    torch.testing.assert_close(total, torch.cat([weight, bias[:, None]], 1))


def test_the_attacked_view_is_the_view_whose_gradient_is_taken():
    """Perturbations computed on one random crop were added to another."""
    seen = []

    class Recording(acs.PGD):
        def perturb(self, model, x, y, **options):
            x_adv = super().perturb(model, x, y, **options)
            seen.append(x_adv)
            return x_adv

    class Listening(ConvNet):
        def forward(self, x):
            heard.append(x.detach().clone())
            return super().forward(x)

    heard = []

    class Random(TensorDataset):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return torch.roll(x, int(torch.randint(3, ())), 2), y

    x, y = images(8)
    acs.last_layer_gradients(Listening(), DataLoader(Random(x, y), 8), Recording(0.1, 0.1, 2))
    assert torch.equal(heard[-1], seen[0])


def test_matching_is_deterministic_and_weights_stay_with_their_samples():
    """A repeated index shifted the weights, and identical input gave different sets."""
    x = make_gradients(40, dtype=torch.float64).dense()
    x = torch.cat([x, x[:10]])  # duplicates invite repeated picks
    one, two = acs.gradient_matching(x, 15), acs.gradient_matching(x, 15)
    assert torch.equal(one.indices, two.indices)
    assert torch.equal(one.weights, two.weights)
    assert len(one.indices.unique()) == len(one)
    achieved = one.weights.double() @ x[one.indices] - x.sum(0)
    assert abs(float(achieved.norm() / x.sum(0).norm()) - one.stats["relative_gradient_error"]) < 1e-6


def test_nothing_is_filled_up_silently():
    """Without a ridge most of a coreset was random with weight 1, and nobody was told."""
    g = make_gradients(100, 3, 4)
    assert len(acs.gradient_matching(g, 50)) <= 10
    filled = acs.gradient_matching(g, 50, fill="random")
    assert filled.stats["filled"] >= 40
    coreset = build("gradmatch", n=200, fraction=0.9)
    assert coreset.step(2).stats["filled"] == coreset.history[0]["filled"] > 0


def test_batch_granular_weights_do_not_cancel():
    """Equal weights within a mini-batch cancelled in a normalised loss."""
    coreset = build(acs.PerBatch(Craig(), batch_size=4), fraction=0.5)
    coreset.step(2)
    losses = torch.ones(4)
    means = [float(acs.weighted_mean(losses, coreset.weights(torch.tensor(b)))) for b in coreset.batch_sampler(4)]
    assert len(set(means)) > 1


def test_random_is_redrawn_and_no_epoch_trains_on_leftovers():
    """The baseline was drawn once, and epochs before the first selection trained on it."""
    coreset = build("random", epochs=12, period=5, warm_start=0.5)
    assert coreset.epochs == [0, 1, 6, 7, 8, 9, 10, 11]
    subsets = []
    for epoch in coreset.epochs[2:]:
        coreset.step(epoch)
        subsets.append(frozenset(coreset.sampler))
    assert len(set(subsets)) == 6
    craig = build(epochs=12, period=5, warm_start=0.5)
    assert craig.step(6) is not None  # 6 is no multiple of 5


def test_attacks_do_not_move_batch_norm_but_training_does():
    """Attacks moved the statistics; one loop trained in eval mode and never did."""
    torch.manual_seed(0)
    model = ConvNet().train()
    x, y = images(8)
    mean = model.norm.running_mean.clone()
    objective = acs.TRADES(6.0, 0.1, 0.05, 2)
    x_adv = objective.perturb(model, x, y)
    assert torch.equal(model.norm.running_mean, mean)
    assert model.training
    objective.per_sample_loss(model, x, x_adv, y)
    assert not torch.equal(model.norm.running_mean, mean)


def test_attacks_compute_no_weight_gradients():
    """Every step computed weight gradients and threw them away; a graph of the clean softmax was kept."""
    wanted = []

    class Watching(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            wanted.append([p.requires_grad for p in self.parameters()] + [torch.is_grad_enabled()])
            return self.fc(x)

    model, x, y = Watching(), torch.rand(2, 4), torch.tensor([0, 1])
    acs.TRADES(6.0, 0.1, 0.05, 2).perturb(model, x, y)
    assert wanted == [[False, False, False]] + [[False, False, True]] * 2
    assert all(p.grad is None for p in model.parameters())


def test_l2_evaluation_starts_inside_the_ball():
    """It began far outside and counted what noise alone misclassified."""
    starts = []

    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            starts.append(x.detach().clone())
            return torch.stack([x.flatten(1).sum(1) * 0 + 1, x.flatten(1).sum(1) * 0], 1) + self.weight

    images = [(torch.full((5, 1, 8, 8), 0.5), torch.zeros(5, dtype=torch.int64))]
    attack = acs.PGD(0.25, 0.05, FINAL_STEPS, "l2", seed=0)
    assert robust_accuracy(Constant(), images, attack, torch.device("cpu"), FINAL_RESTARTS) == 1.0
    radii = [float((x - 0.5).flatten(1).norm(dim=1).max()) for x in starts]
    assert max(radii) <= 0.25 + 1e-5
    assert len(starts) == 1 + FINAL_RESTARTS * (FINAL_STEPS + 1)
