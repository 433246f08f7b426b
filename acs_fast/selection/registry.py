"""Selectors by name: the one table behind the command line, the settings of a run and its reports."""

from __future__ import annotations

from collections.abc import Callable

from acs_fast._util.checks import check_choice
from acs_fast.selection.clusters import Clusters
from acs_fast.selection.craig import Craig
from acs_fast.selection.gradmatch import GradMatch
from acs_fast.selection.random import Random
from acs_fast.selection.round_robin import RoundRobin
from acs_fast.selection.selector import LASTS, Selector

_TABLE: dict[str, tuple[str, Callable[[], Selector]]] = {
    "craig": ("facility location over last-layer gradients", Craig),
    "gradmatch": ("non-negative matching of the full gradient", GradMatch),
    "clusters": ("equal shares of few gradient clusters, redrawn every epoch", Clusters),
    "round-robin": ("all samples in turn, a new part every epoch", RoundRobin),
    "random": ("random, redrawn every epoch", Random),
    "random-fixed": ("random, drawn once", lambda: Random(lasts="run")),
    "random-stratified": ("random within each class, redrawn every epoch", lambda: Random(stratified=True)),
}

SELECTORS = {name: description for name, (description, _) in _TABLE.items()}


def build_selector(selector: str | Selector) -> Selector:
    """The selector of that name with its defaults, or the given one.

    Raises:
        ValueError: unknown name, or `lasts` is none of `LASTS`.
        TypeError: neither a name nor a selector, or one that does not say all that `Selector` has.
    """
    if isinstance(selector, str):
        return _TABLE[check_choice("selector", selector, SELECTORS)][1]()
    if not callable(getattr(selector, "select", None)):
        raise TypeError(f"selector must be one of {', '.join(SELECTORS)} or a Selector; got {type(selector).__name__}")
    missing = [name for name in ("needs_gradients", "lasts") if not hasattr(selector, name)]
    if missing:
        raise TypeError(f"selector must have {' and '.join(missing)}, see Selector; got {type(selector).__name__}")
    check_choice(f"{type(selector).__name__}.lasts", selector.lasts, LASTS)
    return selector
