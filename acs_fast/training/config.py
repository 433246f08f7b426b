"""What a run is: every setting that decides its result, and the controls it is compared with."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from acs_fast.checks import check_choice, check_count, check_number
from acs_fast.objectives import OBJECTIVES, Objective, build_objective
from acs_fast.schedule import Schedule
from acs_fast.selectors import GRANULARITIES, SELECTORS
from acs_fast.training.engine import Engine

METHODS = {
    "full": "full data, best checkpoint",
    "full-short": "full data, shorter schedule of the same cost",
    **SELECTORS,
}
DEFAULT_COMPARISON = ("full", "full-short", "craig", "gradmatch", "random", "random-fixed")


@dataclass(frozen=True)
class RunConfig:
    """One training run. eps and alpha in pixels of [0, 1], bound in units of the perceptual distance."""

    data: str = "digits"
    limit: int | None = None
    model: str = "small"
    width: int | None = None
    objective: str = "pgd"
    eps: float = 0.1
    alpha: float = 0.025
    steps: int = 10
    beta: float = 6.0
    bound: float = 0.5
    method: str = "craig"
    granularity: str = "class"
    fraction: float = 0.3
    epochs: int = 30
    period: int = 5
    warm_start: float = 0.3
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    ema: float = 0.99
    seed: int = 0
    backend: str = "auto"
    channels_last: bool = True
    compile: bool = False
    amp: bool = False
    evaluate_last: bool = False
    test_limit: int = 1000

    def __post_init__(self) -> None:
        check_choice("objective", self.objective, OBJECTIVES)
        check_choice("selector", self.method, METHODS)
        check_choice("granularity", self.granularity, GRANULARITIES)
        check_count("batch_size", self.batch_size, low=1)
        for name in ("learning_rate", "weight_decay"):
            check_number(name, getattr(self, name), low=0.0)
        check_count("test_limit", self.test_limit, low=1)
        check_number("ema", self.ema, low=0.0, high=1.0)
        Schedule(self.epochs, self.period, self.warm_start, self.fraction)
        self.build_objective()  # checks what only the objective knows

    def build_objective(self) -> Objective:
        """The training objective, its random numbers seeded by the run's seed."""
        return build_objective(self.objective, self.as_dict())

    @property
    def engine(self) -> Engine:
        return Engine(self.channels_last, self.compile, self.amp)

    @property
    def norm(self) -> str:
        return "l2" if self.objective == "pgd-l2" else "linf"

    @property
    def selection(self) -> dict[str, Any]:
        """Arguments of `AdversarialCoreset`. Full data is a schedule whose warm start never ends."""
        common = {"period": self.period, "seed": self.seed, "batch_size": self.batch_size, "backend": self.backend}
        if self.method in ("full", "full-short"):
            epochs = self.epochs if self.method == "full" else self.short_epochs
            return {"selector": "random-fixed", "fraction": 1.0, "epochs": epochs, "warm_start": 1.0, **common}
        return {
            "selector": self.method, "fraction": self.fraction, "epochs": self.epochs, "warm_start": self.warm_start,
            "granularity": self.granularity, **common,
        }  # fmt: skip

    @property
    def short_epochs(self) -> int:
        """Full-data epochs that visit as many samples as the coreset schedule."""
        schedule = Schedule(self.epochs, self.period, self.warm_start, self.fraction)
        coreset_epochs = self.epochs - schedule.first_coreset_epoch
        return max(1, round(schedule.full_epochs + self.fraction * coreset_epochs))

    def with_method(self, method: str, seed: int) -> RunConfig:
        return replace(self, method=method, seed=seed)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
