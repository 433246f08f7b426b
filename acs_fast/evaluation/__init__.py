"""Robustness of trained models."""

from acs_fast.evaluation.accuracy import (
    accuracy,
    correct,
    count_standing,
    overfits_catastrophically,
    robust_accuracy,
)
from acs_fast.evaluation.report import draw, text
from acs_fast.evaluation.robustness import RESTARTS, STEPS, curve_of, evaluate

__all__ = [
    "RESTARTS",
    "STEPS",
    "accuracy",
    "correct",
    "count_standing",
    "curve_of",
    "draw",
    "evaluate",
    "overfits_catastrophically",
    "robust_accuracy",
    "text",
]
