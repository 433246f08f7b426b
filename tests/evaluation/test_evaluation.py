"""Robust accuracy, AutoAttack's adaptor, the curve, the signs of gradient masking and of catastrophic overfitting."""

import math
import sys
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import nn

from acs_fast.evaluation import autoattack, curve_of, evaluate, figures, text
from acs_fast.evaluation.accuracy import count_standing, overfits_catastrophically, robust_accuracy, standing
from acs_fast.objectives import PGD

CPU = torch.device("cpu")


class Threshold(nn.Module):
    """Class 1 where the mean pixel exceeds one half: the exact robust accuracy is known."""

    def forward(self, x):
        z = 20.0 * (x.flatten(1).mean(1) - 0.5)
        return torch.stack([-z, z], 1)


class Waves(nn.Module):
    """Class 0 on the crests of a wave of the mean pixel; a step of one period lands on the next crest."""

    def __init__(self, period):
        super().__init__()
        self.period = period

    def forward(self, x):
        z = torch.cos(2.0 * math.pi * (x.flatten(1).mean(1) - 0.5) / self.period)
        return torch.stack([z, -z], 1)


def flat(values, side=2):
    """Images of one grey value each."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, side, side).clone()


def thresholded(values):
    """One batch of images with the right labels."""
    x = flat(values)
    return [(x, (x.flatten(1).mean(1) > 0.5).long())]


class Recording(PGD):
    """PGD that keeps what it was given and what it made."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.batches = []

    def perturb(self, model, x, y):
        x_adv = super().perturb(model, x, y)
        self.batches.append((x.clone(), x_adv.clone()))
        return x_adv


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_restarts_start_at_random_points_of_the_ball(norm):
    """With alpha = 0 the attack returns its start: inside the ball, never the same, and spread over it."""
    x, eps = torch.full((400, 1, 3, 3), 0.5), 0.2
    attack = Recording(eps, 0.0, 1, norm, seed=0)
    always_right = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
    with torch.no_grad():
        always_right[1].weight.zero_()
        always_right[1].bias.copy_(torch.tensor([1.0, 0.0]))
    assert robust_accuracy(always_right, [(x, torch.zeros(400, dtype=torch.long))], attack, CPU, 10) == 1.0
    assert len(attack.batches) == 10
    starts = torch.stack([(x_adv - x0).flatten(1) for x0, x_adv in attack.batches])
    sizes = starts.abs().amax(2) if norm == "linf" else starts.norm(dim=2)
    assert float(sizes.max()) <= eps * (1 + 1e-5)
    assert len({tuple(s.flatten().tolist()) for s in starts}) == 10
    uniform = (sizes / eps) ** 9  # the share of the ball's volume inside: uniform in [0, 1] for a uniform start
    assert abs(float(uniform.mean()) - 0.5) < 0.02
    assert abs(float(uniform.var()) - 1 / 12) < 0.01


def test_only_what_still_stands_is_attacked_again():
    ((x, y),) = thresholded([0.05, 0.45, 0.55, 0.95, 0.99])
    batches = [(torch.cat([x, flat([0.9])]), torch.cat([y, torch.tensor([0])]))]  # one is wrong anyway
    attack = Recording(0.1, 0.1, 3, seed=0)
    assert robust_accuracy(Threshold(), batches, attack, CPU, 4) == 3 / 6
    sizes = [len(x) for x, _ in attack.batches]
    assert sizes == [5, 3, 3, 3]


def test_one_broken_restart_is_enough():
    """An attack that succeeds only at its second restart still breaks the image."""

    class Second(PGD):
        calls = 0

        def perturb(self, model, x, y):
            self.calls += 1
            return 1.0 - x if self.calls == 2 else x

    images = thresholded([0.1, 0.9])
    assert robust_accuracy(Threshold(), images, Second(0.1, 0.1, 1), CPU, 1) == 1.0
    assert robust_accuracy(Threshold(), images, Second(0.1, 0.1, 1), CPU, 3) == 0.0


def test_standing_leaves_out_what_it_is_told_to():
    ((x, y),) = thresholded([0.1, 0.2, 0.8, 0.9])
    among = torch.tensor([True, False, False, True])
    attack = Recording(0.05, 0.05, 1, seed=0)
    assert standing(Threshold(), x, y, attack, among=among).tolist() == [True, False, False, True]
    assert [len(x) for x, _ in attack.batches] == [2]
    nobody = torch.zeros(4, dtype=torch.bool)
    assert standing(Threshold(), x, y, attack, among=nobody).tolist() == [False] * 4


def test_figures_do_not_depend_on_who_counts_which_batch():
    """Batches are seeded by their number, so that processes that share them find the same."""
    ((x, y),) = thresholded([(i + 0.5) / 40 for i in range(40)])
    batches = list(zip(x.split(7), y.split(7), strict=True))
    attack = PGD(0.1, 0.0, 1, seed=0)  # its random start alone
    whole = count_standing(Threshold(), batches, attack, CPU, seed=3)
    parts = [
        count_standing(Threshold(), batches[r::2], attack, CPU, seed=3, numbers=range(r, len(batches), 2))
        for r in range(2)
    ]
    assert torch.equal(whole, parts[0] + parts[1])
    assert int(whole[1]) == 40


# ---- the whole evaluation ---------------------------------------------------------------------------------------


def measure(model, batches, **options):
    settings = {"eps": 0.1, "steps": 20, "restarts": 2, "seed": 3, **options}
    return evaluate(model, batches, **settings)


def test_curve_is_the_exact_one():
    values = [0.5 + s * d for d in (0.01, 0.04, 0.06, 0.085, 0.11, 0.14, 0.16, 0.3) for s in (-1, 1)]
    ((x, y),) = thresholded(values)
    model = Threshold().train()
    result = measure(model, list(zip(x.split(5), y.split(5), strict=True)))
    assert model.training
    for point in result["curve"]:
        exact = sum(abs(v - 0.5) > point["eps"] for v in values) / len(values)
        assert point["robust"] == exact, point
    assert result["pgd"] == result["robust"] == 8 / 16
    assert result["clean"] == result["clean_attacked"] == 1.0
    assert not result["masking"]["suspected"]
    assert result["masking"]["robust_at_large_eps"] == 0.0
    assert result["autoattack"]["robust"] is None
    assert "at least 4 classes; the model has 2" in result["autoattack"]["skipped"]


def test_accuracy_of_classes_and_groups():
    values, groups = [0.1, 0.45, 0.55, 0.9, 0.95], torch.tensor([7, 7, 2, 2, 2])
    ((x, y),) = thresholded(values)
    y[4] = 0  # wrong as it is
    result = measure(Threshold(), [(x, y)], groups=groups)
    for part, kind, each, balanced in (
        ("classes", "clean", {0: 2 / 3, 1: 1.0}, 5 / 6),
        ("classes", "robust", {0: 1 / 3, 1: 1 / 2}, 5 / 12),
        ("groups", "clean", {2: 2 / 3, 7: 1.0}, 5 / 6),
        ("groups", "robust", {2: 1 / 3, 7: 1 / 2}, 5 / 12),
    ):
        found = result[part][kind]
        assert found["each"] == each
        assert found["worst"] == min(each.values())
        assert found["balanced"] == pytest.approx(balanced)
    assert "worst        66.7      33.3" in text(result)
    with pytest.raises(ValueError, match="groups must be one integer for each of 5 images"):
        measure(Threshold(), [(x, y)], groups=groups[:3])


def test_a_limit_attacks_the_first_images_alone():
    ((x, y),) = thresholded([0.45, 0.1, 0.9, 0.45, 0.45])
    result = measure(Threshold(), list(zip(x.split(2), y.split(2), strict=True)), limit=3)
    assert result["images"] == {"test": 5, "attacked": 3}
    assert result["clean"] == 1.0
    assert result["pgd"] == 2 / 3


def test_l2_evaluation_is_the_exact_one():
    """Moving the mean of d pixels by m takes an l2 step of m sqrt(d)."""
    values = [0.5 + s * d for d in (0.02, 0.045, 0.055, 0.2) for s in (-1, 1)]
    result = measure(Threshold(), thresholded(values), norm="l2", curve=(0.3, 0.0, 0.1))
    assert result["pgd"] == 4 / 8
    assert [p["robust"] for p in result["curve"]] == [1.0, 4 / 8, 2 / 8]
    assert result["masking"]["large_eps"] == pytest.approx(0.5 * 2)
    assert not result["masking"]["suspected"]


def test_curve_of_stays_in_the_range_of_pixels():
    assert curve_of(0.1, "linf") == tuple(i / 4 * 0.1 for i in range(9))
    assert curve_of(0.8, "linf")[-2:] == (0.8, 1.0)
    assert curve_of(1.0, "l2")[-1] == 2.0
    assert curve_of(0.0, "linf") == (0.0,)


def test_masked_gradients_are_noticed():
    """Hard decisions have no gradient: PGD finds nothing however large eps is."""

    class Hard(Threshold):
        def forward(self, x):
            return super().forward(x).sign() + 0.0 * x.flatten(1).sum(1, keepdim=True)

    result = measure(Hard(), thresholded([0.2, 0.3, 0.7, 0.8]))
    assert result["pgd"] == 1.0
    assert result["masking"]["suspected"]
    assert "at eps 0.5, where it should leave almost none" in result["masking"]["signs"][0]


def test_pgd_weaker_than_one_step_is_noticed():
    signs = figures.masking(0.6, 0.5, 0.5, 0.0, {})["signs"]
    assert len(signs) == 1
    assert "more than the 50.0 % of one step" in signs[0]
    after = {"apgd-ce": 0.5, "apgd-t": 0.5, "fab-t": 0.5, "square": 0.4}
    signs = figures.masking(0.5, 0.5, 0.5, 0.0, after)["signs"]
    assert len(signs) == 1
    assert "breaks 10.0 % that gradient attacks did not" in signs[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": -0.1}, "eps must be finite"),
        ({"norm": "l1"}, "norm must be one of"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"restarts": 0}, "restarts must be at least 1"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"curve": [0.1, -1.0]}, "eps must be finite"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        measure(Threshold(), thresholded([0.1]), **options)


def test_an_empty_loader_is_named():
    with pytest.raises(ValueError, match="at least one batch; got none"):
        measure(Threshold(), [])


# ---- AutoAttack ---------------------------------------------------------------------------------------------------


class FakeAutoAttack:
    """The interface of pyautoattack 0.2; each attack breaks what it is told to by the grey value."""

    reach: ClassVar = {"apgd-ce": 0.02, "apgd-t": 0.05, "fab-t": 0.0, "square": 0.06}
    seen: ClassVar = []

    def __init__(self, model, *, attacks=None, device="cpu", eps=0.3, norm="Linf", seed=None, version="standard"):
        self.apgd_targeted, self.fab = SimpleNamespace(n_target_classes=9), SimpleNamespace(n_target_classes=9)
        self.options = {"device": device, "eps": eps, "norm": norm, "version": version}
        self.model, self.attacks_to_run = model, list(self.reach)

    def run_standard_evaluation(self, x_orig, y_orig, /, *, batch_size=250, state_path=None):
        (name,) = self.attacks_to_run
        self.seen.append((name, len(x_orig), self.options))
        torch.rand(3)  # it draws from the global random state
        away = torch.where(y_orig == 1, -1.0, 1.0).view(-1, 1, 1, 1)
        return x_orig + self.reach[name] * away, y_orig


@pytest.fixture
def fake(monkeypatch):
    FakeAutoAttack.seen = []
    monkeypatch.setitem(sys.modules, "pyautoattack", SimpleNamespace(AutoAttack=FakeAutoAttack))
    monkeypatch.setattr(autoattack.importlib.metadata, "version", lambda name: "0.2.0")
    return FakeAutoAttack


def test_each_attack_gets_what_the_ones_before_left(fake):
    ((x, y),) = thresholded([0.49, 0.51, 0.46, 0.54, 0.445, 0.555, 0.1, 0.9])
    y[7] = 0  # wrong as it is: never attacked
    before = torch.get_rng_state()
    ensemble = autoattack.AutoAttack(Threshold(), 10, 0.1, "l2", CPU, seed=1)
    after = {name: float(mask.float().mean()) for name, mask in ensemble(x, y).items()}
    assert [(name, n) for name, n, _ in fake.seen] == [("apgd-ce", 7), ("apgd-t", 5), ("fab-t", 3), ("square", 3)]
    assert after == {"apgd-ce": 5 / 8, "apgd-t": 3 / 8, "fab-t": 3 / 8, "square": 1 / 8}
    assert fake.seen[0][2] == {"device": "cpu", "eps": 0.1, "norm": "L2", "version": "standard"}
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_left_to_attack(fake):
    ensemble = autoattack.AutoAttack(Threshold(), 10, 0.1, "linf", CPU, seed=1)
    after = ensemble(flat([0.9, 0.8]), torch.tensor([0, 0]))
    assert fake.seen == []
    assert not any(mask.any() for mask in after.values())


def test_fewer_classes_mean_fewer_targets_and_the_report_says_so(fake):
    class Four(Threshold):
        def forward(self, x):
            return torch.cat([super().forward(x), torch.full((len(x), 2), -30.0)], 1)

    ((x, y),) = thresholded([0.3, 0.7, 0.47, 0.9])
    result = measure(Four(), [(x[:3], y[:3]), (x[3:], y[3:])])
    assert result["autoattack"]["targets"] == 3
    assert result["autoattack"]["after"]["square"] == 3 / 4
    assert result["robust"] == sum(abs(v - 0.5) > 0.1 for v in (0.3, 0.7, 0.47, 0.9)) / 4
    assert "aim at all 3 other classes, fewer than the 9 of the standard version" in text(result)


def test_why_autoattack_is_left_out(fake, monkeypatch):
    assert autoattack.why_not(4, 0.1) is None
    assert "needs at least 4 classes; the model has 3" in autoattack.why_not(3, 0.1)
    assert "eps is 0" in autoattack.why_not(10, 0.0)
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    assert "pip install 'acs_fast[eval]'" in autoattack.why_not(10, 0.1)


@pytest.mark.parametrize("classes", [4, 10])
def test_real_autoattack_agrees_with_the_exact_figure(classes):
    """Classes of which two occur: robust is what lies further than eps from the threshold."""
    pytest.importorskip("pyautoattack")

    class Many(Threshold):
        def forward(self, x):
            x = x.flatten(1).mean(1, keepdim=True)
            others = -10.0 - torch.arange(classes - 2) + 0.1 * x
            return torch.cat([20 * (0.5 - x), 20 * (x - 0.5), others], 1)

    values = [0.5 + s * d for d in (0.08, 0.12) for s in (-1, 1)]
    model, x = Many(), flat(values, side=4)
    after = autoattack.AutoAttack(model, classes, 0.1, "linf", CPU, seed=0)(x, model(x).argmax(1))
    assert after["square"].tolist() == [abs(v - 0.5) > 0.1 for v in values]
    assert list(after) == ["apgd-ce", "apgd-t", "fab-t", "square"]


# ---- catastrophic overfitting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fgsm", "robust", "best", "fires"),
    [
        (0.80, 0.00, 0.40, True),  # the textbook case
        (0.35, 0.10, 0.40, True),
        (0.45, 0.40, 0.40, False),  # healthy
        (0.42, 0.21, 0.40, False),  # above half of the best
        (0.22, 0.18, 0.40, False),  # both fell: divergence
        (0.10, 0.00, 0.40, False),
        (0.90, 0.00, 0.00, False),  # never was robust
        (0.90, 0.00, -1.0, False),  # the first epoch
        (0.20, 0.02, 0.10, False),  # the best was one class for every image
        (0.20, 0.02, 0.16, True),
    ],
)
def test_rule_of_catastrophic_overfitting(fgsm, robust, best, fires):
    assert overfits_catastrophically(fgsm, robust, best, chance=0.1) is fires


def test_a_model_that_defeats_one_step_only_is_told_from_a_robust_one():
    """A step of one period leads back to a crest, half a period into the trough; the threshold has no such fold."""
    one_step, many = PGD(0.1, 0.1, 1, random_start=False), PGD(0.1, 0.025, 10, seed=0)
    values = [0.5 + 0.001 * (i + 1) for i in range(20)]
    waves = [(flat(values), torch.zeros(20, dtype=torch.long))]
    scores = [robust_accuracy(Waves(0.1), waves, attack, CPU) for attack in (one_step, many)]
    assert scores[0] == 1.0
    assert overfits_catastrophically(*scores, best_robust=0.6, chance=0.5)
    far = thresholded([0.5 + s * 0.02 * (i + 1) for i in range(10) for s in (-1, 1)])
    scores = [robust_accuracy(Threshold(), far, attack, CPU) for attack in (one_step, many)]
    assert scores[0] == pytest.approx(scores[1], abs=0.1)
    assert not overfits_catastrophically(*scores, best_robust=0.6, chance=0.5)
