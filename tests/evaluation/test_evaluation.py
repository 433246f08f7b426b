"""Robust accuracy, AutoAttack's adaptor, the curve, the signs of gradient masking and of catastrophic overfitting."""

import math
import sys
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import nn

from acs_fast.evaluation import autoattack, robustness
from acs_fast.evaluation.accuracy import overfits_catastrophically, robust_accuracy, standing
from acs_fast.objectives import PGD
from acs_fast.training.config import RunConfig
from acs_fast.training.data import Images, Splits
from acs_fast.training.restore import Restored

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
    x = flat(values)
    return Images(x, (x.flatten(1).mean(1) > 0.5).long())


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
    assert robust_accuracy(always_right, Images(x, torch.zeros(400, dtype=torch.long)), attack, CPU, 10) == 1.0
    assert len(attack.batches) == 10
    starts = torch.stack([(x_adv - x0).flatten(1) for x0, x_adv in attack.batches])
    sizes = starts.abs().amax(2) if norm == "linf" else starts.norm(dim=2)
    assert float(sizes.max()) <= eps * (1 + 1e-5)
    assert len({tuple(s.flatten().tolist()) for s in starts}) == 10
    uniform = (sizes / eps) ** 9  # the share of the ball's volume inside: uniform in [0, 1] for a uniform start
    assert abs(float(uniform.mean()) - 0.5) < 0.02
    assert abs(float(uniform.var()) - 1 / 12) < 0.01


def test_only_what_still_stands_is_attacked_again():
    images = thresholded([0.05, 0.45, 0.55, 0.95, 0.99])
    images = Images(torch.cat([images.x, flat([0.9])]), torch.cat([images.y, torch.tensor([0])]))  # one is wrong anyway
    attack = Recording(0.1, 0.1, 3, seed=0)
    assert robust_accuracy(Threshold(), images, attack, CPU, 4) == 3 / 6
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
    images = thresholded([0.1, 0.2, 0.8, 0.9])
    among = torch.tensor([True, False, False, True])
    attack = Recording(0.05, 0.05, 1, seed=0)
    assert standing(Threshold(), images, attack, CPU, among=among).tolist() == [True, False, False, True]
    assert [len(x) for x, _ in attack.batches] == [2]
    nobody = torch.zeros(4, dtype=torch.bool)
    assert standing(Threshold(), images, attack, CPU, among=nobody).tolist() == [False] * 4


def test_results_do_not_depend_on_the_batches(monkeypatch):
    images = thresholded([(i + 0.5) / 40 for i in range(40)])
    attack = {"eps": 0.1, "alpha": 0.02, "steps": 20}
    whole = standing(Threshold(), images, PGD(**attack, seed=0), CPU, 2)
    monkeypatch.setattr("acs_fast.evaluation.accuracy.BATCH", 7)
    assert torch.equal(standing(Threshold(), images, PGD(**attack, seed=0), CPU, 2), whole)
    grey = images.x.flatten(1).mean(1)
    assert torch.equal(whole, (grey - 0.5).abs() > 0.1)


# ---- the whole evaluation ---------------------------------------------------------------------------------------


def restored(model, **settings):
    return Restored("best.pt", model, RunConfig(eps=0.1, **settings), 3, 1, 2, (2, 2))


def splits(images):
    return Splits("grey", images, images, images, 2, 0.1)


def plan(**changes):
    settings = {"eps": 0.1, "norm": "linf", "curve": robustness.curve_of(0.1, "linf"), "limit": 100}
    return robustness.Plan(**(settings | {"show_progress": False} | changes))


def test_curve_is_the_exact_one():
    values = [0.5 + s * d for d in (0.01, 0.04, 0.06, 0.085, 0.11, 0.14, 0.16, 0.3) for s in (-1, 1)]
    images = thresholded(values)
    result = robustness.evaluate(restored(Threshold()), splits(images), plan(), CPU)
    for point in result["curve"]:
        exact = sum(abs(v - 0.5) > point["eps"] for v in values) / len(values)
        assert point["robust"] == exact, point
    assert result["pgd"] == 8 / 16
    assert result["clean"] == {"all": 1.0, "attacked": 1.0}
    assert not result["masking"]["suspected"]
    assert result["masking"]["robust_at_large_eps"] == 0.0
    assert result["autoattack"]["robust"] is None
    assert "at least 10 classes; the model has 2" in result["autoattack"]["skipped"]


def test_l2_evaluation_is_the_exact_one():
    """Moving the mean of d pixels by m takes an l2 step of m sqrt(d)."""
    values = [0.5 + s * d for d in (0.02, 0.045, 0.055, 0.2) for s in (-1, 1)]
    config = restored(Threshold(), objective="pgd-l2")
    result = robustness.evaluate(config, splits(thresholded(values)), plan(norm="l2", curve=(0.0, 0.1, 0.3)), CPU)
    assert result["pgd"] == 4 / 8
    assert [p["robust"] for p in result["curve"]] == [1.0, 4 / 8, 2 / 8]
    assert result["masking"]["large_eps"] == pytest.approx(0.5 * 2)
    assert not result["masking"]["suspected"]


def test_curve_of_stays_in_the_range_of_pixels():
    assert robustness.curve_of(0.1, "linf") == tuple(i / 4 * 0.1 for i in range(9))
    assert robustness.curve_of(0.8, "linf")[-2:] == (0.8, 1.0)
    assert robustness.curve_of(1.0, "l2")[-1] == 2.0
    assert robustness.curve_of(0.0, "linf") == (0.0,)


def test_masked_gradients_are_noticed():
    """Hard decisions have no gradient: PGD finds nothing however large eps is."""

    class Hard(Threshold):
        def forward(self, x):
            return super().forward(x).sign() + 0.0 * x.flatten(1).sum(1, keepdim=True)

    result = robustness.evaluate(restored(Hard()), splits(thresholded([0.2, 0.3, 0.7, 0.8])), plan(), CPU)
    assert result["pgd"] == 1.0
    assert result["masking"]["suspected"]
    assert "at eps 0.5, where it should leave almost none" in result["masking"]["signs"][0]


def test_pgd_weaker_than_one_step_is_noticed():
    signs = robustness._masking(0.6, 0.5, 0.5, 0.0, {"robust": None})["signs"]
    assert len(signs) == 1
    assert "more than the 50.0 % of one step" in signs[0]
    after = {"apgd-ce": 0.5, "apgd-t": 0.5, "fab-t": 0.5, "square": 0.4}
    signs = robustness._masking(0.5, 0.5, 0.5, 0.0, {"robust": 0.4, "after": after})["signs"]
    assert len(signs) == 1
    assert "breaks 10.0 % that gradient attacks did not" in signs[0]


# ---- AutoAttack ---------------------------------------------------------------------------------------------------


class FakeAutoAttack:
    """The interface of pyautoattack 0.2; each attack breaks what it is told to by the grey value."""

    reach: ClassVar = {"apgd-ce": 0.02, "apgd-t": 0.05, "fab-t": 0.0, "square": 0.06}
    seen: ClassVar = []

    def __init__(self, model, *, attacks=None, device="cpu", eps=0.3, norm="Linf", seed=None, version="standard"):
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
    images = thresholded([0.49, 0.51, 0.46, 0.54, 0.445, 0.555, 0.1, 0.9])
    images.y[7] = 0  # wrong as it is: never attacked
    model, before = Threshold().train(), torch.get_rng_state()
    found = autoattack.run(model, images, 0.1, "l2", CPU, seed=1)
    assert [(name, n) for name, n, _ in fake.seen] == [("apgd-ce", 7), ("apgd-t", 5), ("fab-t", 3), ("square", 3)]
    assert found.after == {"apgd-ce": 5 / 8, "apgd-t": 3 / 8, "fab-t": 3 / 8, "square": 1 / 8}
    assert found.standing.tolist() == [False] * 6 + [True, False]
    assert fake.seen[0][2] == {"device": "cpu", "eps": 0.1, "norm": "L2", "version": "standard"}
    assert model.training
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_left_to_attack(fake):
    images = Images(flat([0.9, 0.8]), torch.tensor([0, 0]))
    found = autoattack.run(Threshold(), images, 0.1, "linf", CPU, seed=1)
    assert fake.seen == []
    assert set(found.after.values()) == {0.0}


def test_why_autoattack_is_left_out(fake, monkeypatch):
    assert autoattack.why_not(10, 0.1) is None
    assert "needs at least 10 classes; the model has 9" in autoattack.why_not(9, 0.1)
    assert "eps is 0" in autoattack.why_not(10, 0.0)
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    assert "pip install 'acs_fast[eval]'" in autoattack.why_not(10, 0.1)


def test_real_autoattack_agrees_with_the_exact_figure(monkeypatch):
    """Ten classes of which two occur: robust is what lies further than eps from the threshold."""
    pytest.importorskip("pyautoattack")

    class Ten(Threshold):
        def forward(self, x):
            x = x.flatten(1).mean(1, keepdim=True)
            others = -10.0 - torch.arange(8) + 0.1 * x
            return torch.cat([20 * (0.5 - x), 20 * (x - 0.5), others], 1)

    values = [0.5 + s * d for d in (0.02, 0.08, 0.12, 0.2) for s in (-1, 1)]
    model, x = Ten(), flat(values, side=4)
    found = autoattack.run(model, Images(x, model(x).argmax(1)), 0.1, "linf", CPU, seed=0)
    assert found.standing.tolist() == [abs(v - 0.5) > 0.1 for v in values]
    assert list(found.after) == ["apgd-ce", "apgd-t", "fab-t", "square"]


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
    waves = Images(flat(values), torch.zeros(20, dtype=torch.long))
    scores = [robust_accuracy(Waves(0.1), waves, attack, CPU) for attack in (one_step, many)]
    assert scores[0] == 1.0
    assert overfits_catastrophically(*scores, best_robust=0.6, chance=0.5)
    far = thresholded([0.5 + s * 0.02 * (i + 1) for i in range(10) for s in (-1, 1)])
    scores = [robust_accuracy(Threshold(), far, attack, CPU) for attack in (one_step, many)]
    assert scores[0] == pytest.approx(scores[1], abs=0.1)
    assert not overfits_catastrophically(*scores, best_robust=0.6, chance=0.5)
