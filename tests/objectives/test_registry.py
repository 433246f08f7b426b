"""Objectives by name."""

import pytest
import torch

from acs_fast.objectives import OBJECTIVES, build_objective

SETTINGS = {"eps": 0.1, "alpha": 0.02, "steps": 3, "beta": 6.0, "bound": 0.5, "seed": 4, "model": "small"}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_name_takes_its_share_of_the_settings(name):
    hard, soft = build_objective(name, SETTINGS), build_objective(name, {**SETTINGS, "label_smoothing": 0.2})
    assert (hard.loss.label_smoothing, soft.loss.label_smoothing) == (0.0, 0.2)
    logits, y = (torch.randn(3, 4),) * 2, torch.tensor([0, 1, 2])
    assert not torch.allclose(hard.loss.residuals(logits, y), soft.loss.residuals(logits, y))


def test_missing_settings_and_unknown_names_are_named():
    assert build_objective("nfgsm", {"eps": 0.1}).attack.alpha == 0.1
    with pytest.raises(TypeError, match="alpha"):
        build_objective("pgd", {"eps": 0.1})
    with pytest.raises(ValueError, match="objective must be one of 'atta'"):
        build_objective("mart", SETTINGS)
