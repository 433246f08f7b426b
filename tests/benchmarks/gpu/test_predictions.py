"""Predicted times: those of the model, and above the floors."""

import json
from dataclasses import replace

import pytest

from benchmarks import ROOT
from benchmarks.gpu import floors, predictions
from benchmarks.gpu.cases import CASES


def test_predictions_are_the_model_s_and_above_the_floors():
    found = predictions.predictions()
    assert json.loads(predictions.FILE.read_text()) == json.loads(json.dumps(found))
    assert set(found["seconds"]) == {case.name for case in CASES}
    for case in CASES:
        stages = found["seconds"][case.name]
        assert sum(floors.floor_seconds(case, floors.Rates()).values()) <= stages["operator"] < stages["public call"]
        assert stages[case.judged] <= case.bar_seconds
        if case.algorithm == "craig":
            assert stages["distances"] >= max(floors.distance_floor(case, floors.Rates()).values())


def test_predicted_distances_know_of_traffic():
    case = next(case for case in CASES if case.name == "craig-imagenet")
    rates, by = floors.Rates(), predictions.Latencies()
    through_l2, passes = predictions.traffic_seconds(case, rates, by)
    assert through_l2 * by.l2 == pytest.approx(66_000 * 256 * 3048 * 2)  # tiles, rows of factors, numbers, bytes
    assert passes * rates.copy == pytest.approx(3 * 1_281_000 * 3048 * 2)
    assert predictions.distances_seconds(case, rates, by) >= through_l2 + passes


def test_predicted_matching_knows_of_the_rounds_before_the_graph():
    case = next(case for case in CASES if case.algorithm == "gradmatch")
    none = replace(predictions.Latencies(), eager=0.0, instantiation=0.0)
    more = predictions.matching_seconds(case, floors.Rates(), predictions.Latencies())
    before = more - predictions.matching_seconds(case, floors.Rates(), none)
    assert before == pytest.approx(32 * 8 * 62e-6)


def test_the_model_s_rounds_are_those_of_the_graph():
    source = (ROOT / "acs_fast/ops/triton/gradient_matching.py").read_text()
    assert f"\nROUNDS = {predictions.ROUNDS} " in source
