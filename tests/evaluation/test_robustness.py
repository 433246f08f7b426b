"""The whole evaluation on models whose figures are known exactly."""

import pytest
import torch

from acs_fast.evaluation import curve_of, text
from tests.evaluation.thresholds import Threshold, measure, thresholded


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
