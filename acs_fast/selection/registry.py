"""Selectors by name: the one table behind the command line, the settings of a run and its reports."""

from __future__ import annotations

from collections.abc import Callable

from acs_fast._util.checks import check_choice
from acs_fast.selection.glister import Glister
from acs_fast.selection.gradient_based import Craig, GradMatch
from acs_fast.selection.random import Random
from acs_fast.selection.resampled import CraigStrata, Importance
from acs_fast.selection.scores import SoftPruning, TopScore
from acs_fast.selection.selector import GRANULARITIES, Selector

_TABLE: dict[str, tuple[str, Callable[[str, int, str], Selector]]] = {
    "craig": ("facility location over last-layer gradients", lambda g, b, k: Craig(g, b, k)),
    "craig-strata": ("a random member of each facility-location cluster", lambda g, b, k: CraigStrata(g, k)),
    "gradmatch": ("non-negative matching of the full gradient", lambda g, b, k: GradMatch(g, b, k)),
    "importance": ("random by gradient norm, unbiased", lambda g, b, k: Importance(g, k)),
    "glister": ("greedy by the validation gradient", lambda g, b, k: Glister(g)),
    "top-loss": ("highest losses, chosen once", lambda g, b, k: TopScore("loss", g)),
    "top-el2n": ("largest residuals, chosen once", lambda g, b, k: TopScore("el2n", g)),
    "low-input": ("smallest input gradients, chosen once", lambda g, b, k: TopScore("input", g)),
    "soft-loss": ("soft pruning by loss", lambda g, b, k: SoftPruning(g, k, "loss")),
    "soft-el2n": ("soft pruning by residual", lambda g, b, k: SoftPruning(g, k, "el2n")),
    "soft-input": ("soft pruning by input gradient", lambda g, b, k: SoftPruning(g, k, "input")),
    "random": ("random, redrawn every epoch", lambda g, b, k: Random()),
    "random-fixed": ("random, drawn once", lambda g, b, k: Random(redraws=False)),
    "random-stratified": ("random within each class, redrawn every epoch", lambda g, b, k: Random(stratified=True)),
}

SELECTORS = {name: description for name, (description, _) in _TABLE.items()}


def selector(
    name: str | Selector, granularity: str = "class", batch_size: int = 128, backend: str = "auto"
) -> Selector:
    """The selector of that name, or the given one.

    Raises:
        ValueError: unknown name or granularity.
        TypeError: neither a name nor a selector.
    """
    if not isinstance(name, str):
        if not callable(getattr(name, "choose", None)):
            raise TypeError(f"selector must be one of {', '.join(SELECTORS)} or a Selector; got {type(name).__name__}")
        return name
    check_choice("selector", name, SELECTORS)
    check_choice("granularity", granularity, GRANULARITIES)
    return _TABLE[name][1](granularity, batch_size, backend)
