"""A model's robustness as text and as a picture."""

import builtins
from copy import deepcopy

import pytest

from acs_fast.evaluation import draw, text

PARTS = {
    "clean": {"each": {0: 0.9, 1: 0.5}, "worst": 0.5, "balanced": 0.7},
    "robust": {"each": {0: 0.4}, "worst": 0.4, "balanced": 0.4},
}
RESULT = {
    "images": {"test": 1000, "attacked": 200}, "norm": "linf", "eps": 0.1, "steps": 20, "restarts": 5,
    "clean": 0.875, "clean_attacked": 0.86, "fgsm": 0.6, "pgd": 0.5, "robust": 0.45,
    "seconds": {"clean": 1.0, "fgsm": 2.0, "pgd": 30.0, "autoattack": 60.0},
    "autoattack": {"robust": 0.47, "skipped": None, "targets": 9},
    "curve": [{"eps": 0.05, "robust": 0.7}, {"eps": 0.1, "robust": 0.5}],
    "masking": {"suspected": False, "signs": [], "robust_at_large_eps": 0.0, "large_eps": 0.5},
    "classes": PARTS,
}  # fmt: skip


@pytest.fixture
def result():
    return deepcopy(RESULT)


def cells(report, first):
    return next(line for line in report.splitlines() if line.startswith(first)).removeprefix(first).split()


def test_every_attack_has_its_accuracy_and_seconds(result):
    report = text(result)
    assert report.startswith("1000 images, 200 attacked; linf, eps 0.1")
    assert cells(report, "none (all images)") == ["87.5", "1.0"]
    assert cells(report, "PGD-20, 5 restarts") == ["50.0", "30.0"]
    assert cells(report, "AutoAttack") == ["47.0", "60.0"]
    assert cells(report, "all of them") == ["45.0"]
    assert cells(report, "0.05") == ["70.0"]
    assert "clean of all images, robust of those attacked" in report


def test_parts_are_named_where_their_names_are_known_and_counted_where_they_are_many(result):
    report = text(result | {"class_names": ("shirt", "coat"), "groups": PARTS})
    assert cells(report, "shirt") == ["90.0", "40.0"]
    assert cells(report, "coat") == ["50.0", "-"]  # none of it was attacked
    assert cells(report, "1 ") == ["50.0", "-"]
    assert cells(report, "worst") == ["50.0", "40.0"]
    result["classes"]["clean"]["each"] = dict.fromkeys(range(13), 0.5)
    many = text(result)
    assert cells(many, "balanced") == ["70.0", "40.0"]
    assert not any(line.startswith("12 ") for line in many.splitlines())


def test_an_ensemble_that_was_left_out_or_cut_short_is_told(result):
    assert "aim at all 9 other classes" not in text(result)
    result["autoattack"]["targets"] = 2
    assert "aim at all 2 other classes, fewer than the 9 of the standard version" in text(result)
    result["autoattack"] = {"robust": None, "skipped": "not installed", "targets": 9, "warnings": ["gradients vanish"]}
    report = text(result)
    assert cells(report, "AutoAttack")[0] == "skipped"
    assert "AutoAttack was skipped: not installed" in report
    assert "AutoAttack warned: gradients vanish" in report
    assert "all of them" not in report


def test_signs_of_masked_gradients_take_the_place_of_the_all_clear(result):
    assert "no sign of it (PGD leaves 0.0 % at eps 0.5" in text(result)
    result["masking"] |= {"suspected": True, "signs": ["FGSM breaks more than PGD"]}
    report = text(result)
    assert "gradient masking suspected: FGSM breaks more than PGD" in report
    assert "no sign of it" not in report


@pytest.mark.parametrize("robust", [0.47, None])
def test_the_picture_is_drawn(result, robust, tmp_path):
    pytest.importorskip("matplotlib")
    result["autoattack"]["robust"] = robust
    assert draw(result, tmp_path / "curve.png", "A model: ") is None
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_a_reason(result, tmp_path, monkeypatch):
    plain = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError("none here")
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'acs_fast[plot]'" in draw(result, tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()
