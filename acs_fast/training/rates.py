"""Learning rates and ramps by progress of the run."""

from __future__ import annotations

import math
from collections.abc import Callable

from acs_fast._util.checks import check_choice, check_number

RAMP = 0.3  # of a one-cycle schedule goes up
DROPS = (0.5, 0.75)  # of a step schedule, each to a tenth


def _cosine(done: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * done))


def _one_cycle(done: float) -> float:
    return done / RAMP if done < RAMP else _cosine((done - RAMP) / (1.0 - RAMP))


def _step(done: float) -> float:
    return float(0.1 ** sum(done >= drop for drop in DROPS))


_FACTORS: dict[str, tuple[str, Callable[[float], float]]] = {
    "cosine": ("from the highest down to 0", _cosine),
    "one-cycle": (f"up for {RAMP:.0%} of the steps, then down to 0", _one_cycle),
    "step": (f"a tenth after {DROPS[0]:.0%} and again after {DROPS[1]:.0%}", _step),
    "constant": ("always the highest", lambda done: 1.0),
}

LR_SCHEDULES = {name: text for name, (text, _) in _FACTORS.items()}


def rate_factor(name: str, step: int, total_steps: int) -> float:
    """The learning rate of step `step` of `total_steps`, as a share of the highest.

    Args:
        name: a key of `LR_SCHEDULES`.
        step: 0, 1, ...; later than the end counts as the end.
        total_steps: of the whole run, as `AdversarialCoreset.total_steps` tells.

    Raises:
        ValueError: unknown name.

    Example:
        >>> [rate_factor("step", step, 4) for step in range(4)]
        [1.0, 1.0, 0.1, 0.010000000000000002]
    """
    check_choice("lr_schedule", name, LR_SCHEDULES)
    return _FACTORS[name][1](min(1.0, step / max(1, total_steps)))


def ramp(share: float, step: int, total_steps: int) -> float:
    """From 0 up to 1 over the first `share` of the steps, then 1.

    Raises:
        ValueError: share is not in [0, 1].
    """
    span = check_number("share", share, low=0.0, high=1.0) * total_steps
    return min(1.0, (step + 1) / span) if span > 0 else 1.0
