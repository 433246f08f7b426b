"""The best weights, and warnings where training makes no sense."""

import logging

import pytest
import torch
from torch import nn

from acs_fast.training.config import RunConfig
from acs_fast.training.images import Images
from acs_fast.training.validation import Validation

CPU = torch.device("cpu")


def entry(clean=0.5, overfits=False):
    return {"validation": {"clean": clean}, "catastrophic_overfitting": overfits}


@pytest.fixture
def validation():
    images = Images(torch.rand(40, 1, 4, 4), torch.arange(40) % 4)
    return Validation(RunConfig(eps=0.1, objective="pgd", epochs=8), images, CPU)


def warned(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_catastrophic_overfitting_is_warned_of_once(validation, caplog):
    log, flags = [], []
    best = {"robust": -1.0, "epoch": -1}
    for epoch, (robust, fgsm) in enumerate([(0.5, 0.5), (0.6, 0.7), (0.1, 0.7), (0.0, 0.9)]):
        scores = {"clean": 0.9, "robust": robust, "fgsm": fgsm}
        flags.append(validation.warn(epoch, scores, log, best))
        best = max(best, {"robust": robust, "epoch": epoch}, key=lambda b: b["robust"])
        log.append(entry(0.9, flags[-1]))
    assert flags == [False, False, True, True]
    (message,) = warned(caplog)
    assert "epoch 2: validation accuracy is 10.0 % under PGD (best 60.0 %) but 70.0 % under FGSM" in message


def test_healthy_training_and_divergence_raise_no_alarm(validation, caplog):
    log = []
    for epoch, robust in enumerate([0.3, 0.4, 0.38, 0.1]):
        scores = {"clean": 0.9, "robust": robust, "fgsm": robust + 0.05}
        log.append(entry(0.9, validation.warn(epoch, scores, log, {"robust": 0.4, "epoch": 1})))
    assert not any(e["catastrophic_overfitting"] for e in log)
    assert warned(caplog) == []


def test_training_at_chance_is_warned_of_once(validation, caplog):
    log = []
    for epoch in range(8):
        validation.warn(epoch, {"clean": 0.27, "robust": 0.2, "fgsm": 0.2}, log, {"robust": 0.2, "epoch": 0})
        log.append(entry(0.27))
    (message,) = warned(caplog)
    assert "training stays at chance: after epoch 2 validation accuracy is 27.0 % at best" in message
    assert "naming the most frequent class gives 25.0 %" in message


def test_a_model_that_learns_is_not(validation, caplog):
    log = [entry(0.25), entry(0.6)]
    validation.warn(2, {"clean": 0.25, "robust": 0.2, "fgsm": 0.2}, log, {"robust": 0.2, "epoch": 0})
    assert warned(caplog) == []


def test_scores_of_plain_training_know_no_fgsm():
    images = Images(torch.rand(8, 1, 4, 4), torch.zeros(8, dtype=torch.long))
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    scores = Validation(RunConfig(objective="vanilla", eps=0.1), images, CPU).score(model, 0)
    assert scores.keys() == {"clean", "robust"}
    none = Validation(RunConfig(eps=0.1), images.first(0), CPU).score(model, 5)
    assert none == {"clean": 0.0, "robust": 5.0}
