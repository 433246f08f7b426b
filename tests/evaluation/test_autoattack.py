"""AutoAttack's adaptor, against a stand-in with the same interface and against the real one."""

import sys
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from acs_fast.evaluation import autoattack, text
from tests.evaluation.thresholds import CPU, Threshold, flat, measure, thresholded


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
