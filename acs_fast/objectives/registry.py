"""Objectives by name: the one table behind the command line and the settings of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from acs_fast._util.checks import check_choice
from acs_fast.objectives.atta import ATTA
from acs_fast.objectives.base import Objective
from acs_fast.objectives.fast import NFGSM, GradAlignFGSM
from acs_fast.objectives.mart import MART
from acs_fast.objectives.perceptual import PerceptualAT
from acs_fast.objectives.prior_guided import FGSMPGI
from acs_fast.objectives.standard import FGSM, PGD, Vanilla
from acs_fast.objectives.trades import TRADES


@dataclass(frozen=True)
class Entry:
    """A class, the settings that it takes, and arguments that its name fixes."""

    kind: type[Objective]
    takes: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)


OBJECTIVES: dict[str, Entry] = {
    "vanilla": Entry(Vanilla),
    "fgsm": Entry(FGSM, ("eps", "seed")),
    "nfgsm": Entry(NFGSM, ("eps", "seed")),
    "fgsm-gradalign": Entry(GradAlignFGSM, ("eps", "seed")),
    "fgsm-pgi": Entry(FGSMPGI, ("eps", "seed")),
    "atta": Entry(ATTA, ("eps", "seed")),
    "pgd": Entry(PGD, ("eps", "alpha", "steps", "seed")),
    "pgd-l2": Entry(PGD, ("eps", "alpha", "steps", "seed"), {"norm": "l2"}),
    "trades": Entry(TRADES, ("beta", "eps", "alpha", "steps", "seed")),
    "mart": Entry(MART, ("beta", "eps", "alpha", "steps", "seed")),
    "perceptual": Entry(PerceptualAT, ("bound", "steps", "seed")),
}


def build_objective(name: str, settings: Mapping[str, Any]) -> Objective:
    """The objective of that name with those of the settings that it takes.

    Args:
        name: a key of `OBJECTIVES`.
        settings: eps, alpha, steps, beta, bound, seed: at least those that the objective takes.

    Raises:
        ValueError: unknown name, or a setting outside its range.

    Example:
        >>> build_objective("fgsm", {"eps": 0.1, "seed": 0})
        FGSM(eps=0.1, norm='linf', alpha=0.125, steps=1, random_start=True, train_mode=False)
    """
    entry = OBJECTIVES[check_choice("objective", name, OBJECTIVES)]
    return entry.kind(**{key: settings[key] for key in entry.takes}, **entry.fixed)
