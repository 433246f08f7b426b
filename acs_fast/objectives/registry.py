"""Objectives by name: the one table behind the command line and the settings of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from acs_fast._util.checks import check_choice
from acs_fast.objectives.atta import ATTA
from acs_fast.objectives.base import Objective
from acs_fast.objectives.cross_entropy import FGSM, PGD, Vanilla
from acs_fast.objectives.fast import NFGSM, GradAlignFGSM
from acs_fast.objectives.perceptual import PerceptualAT
from acs_fast.objectives.prior_guided import FGSMPGI
from acs_fast.objectives.trades import TRADES


@dataclass(frozen=True)
class Entry:
    """A class, the settings for it, and arguments fixed by the name."""

    kind: type[Objective]
    takes: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)


OBJECTIVES: dict[str, Entry] = {
    "vanilla": Entry(Vanilla, ("label_smoothing",)),
    "fgsm": Entry(FGSM, ("label_smoothing", "eps", "seed")),
    "nfgsm": Entry(NFGSM, ("label_smoothing", "eps", "seed")),
    "fgsm-gradalign": Entry(GradAlignFGSM, ("label_smoothing", "eps", "seed")),
    "fgsm-pgi": Entry(FGSMPGI, ("label_smoothing", "eps", "seed")),
    "atta": Entry(ATTA, ("label_smoothing", "eps", "seed")),
    "pgd": Entry(PGD, ("label_smoothing", "eps", "alpha", "steps", "seed")),
    "pgd-l2": Entry(PGD, ("label_smoothing", "eps", "alpha", "steps", "seed"), {"norm": "l2"}),
    "trades": Entry(TRADES, ("label_smoothing", "beta", "eps", "alpha", "steps", "seed")),
    "perceptual": Entry(PerceptualAT, ("label_smoothing", "bound", "steps", "seed")),
}


def build_objective(name: str, settings: Mapping[str, Any]) -> Objective:
    """The objective of a name, with its share of the settings.

    Args:
        name: a key of `OBJECTIVES`.
        settings: eps, alpha, steps, beta, bound, label_smoothing, seed; what is missing takes its default.

    Raises:
        ValueError: unknown name, or a setting outside its range.
        TypeError: a setting without a default is missing.

    Example:
        >>> build_objective("fgsm", {"eps": 0.1, "seed": 0})
        FGSM(eps=0.1, norm='linf', alpha=0.125, steps=1, train_mode=False, random_start=True, label_smoothing=0.0)
    """
    entry = OBJECTIVES[check_choice("objective", name, OBJECTIVES)]
    return entry.kind(**{key: settings[key] for key in entry.takes if key in settings}, **entry.fixed)
