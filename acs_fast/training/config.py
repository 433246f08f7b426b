"""What a run is: every setting that decides its result, and the controls it is compared with."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from acs_fast._util.checks import check_choice, check_count, check_number
from acs_fast.objectives import ATTA, OBJECTIVES, Objective, build_objective
from acs_fast.schedule import Schedule
from acs_fast.selection import SELECTORS, Clusters, Craig, GradMatch, PerBatch, Selector, build_selector
from acs_fast.training.engine import Engine

REFRESHES = ("attack", "train")
GRANULARITIES = ("class", "batch", "global")

METHODS = {
    "full": "full data, best checkpoint",
    "full-short": "full data, shorter schedule of the same cost",
    **SELECTORS,
}
AUTO = "auto"
CLASSICS = ("full", "full-short", "craig", "gradmatch", "random", "random-fixed")


@dataclass(frozen=True)
class RunConfig:
    """One training run. eps and alpha in pixels of [0, 1], bound in units of the perceptual distance.

    Attributes:
        selection_steps: steps of the attack while selecting; None for those of training.
        refresh: see `AdversarialCoreset`; "auto" is "train" wherever that is possible and no attack is asked for.
        warm_perturbations, pool, cool_down: see `AdversarialCoreset`.
        allocate: see there; None for "where the objective remembers its attacks" (`ATTA`), since the others then cost
            no attack at all.
    """

    data: str = "digits"
    limit: int | None = None
    model: str = "small"
    width: int | None = None
    objective: str = "atta"
    eps: float = 0.1
    alpha: float = 0.025
    steps: int = 10
    beta: float = 6.0
    bound: float = 0.5
    method: str = "clusters"
    granularity: str = "class"
    fraction: float = 0.25
    epochs: int = 34
    period: int = 5
    warm_start: float = 0.1
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    ema: float = 0.99
    seed: int = 0
    selection_steps: int | None = None
    refresh: str = AUTO
    allocate: bool | None = None
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
        self.schedule  # noqa: B018 - checks its arguments
        self.build_objective()  # checks what only the objective knows
        self._check_selection()

    def build_objective(self) -> Objective:
        """The training objective, its random numbers seeded by the run's seed."""
        return build_objective(self.objective, self.as_dict())

    def build_cheaper(self, steps: int) -> Objective:
        """The same objective with so many steps, each long enough to reach the edge of the ball and no more than that.

        Raises:
            ValueError: the objective's attack has no steps to choose.
        """
        if "steps" not in OBJECTIVES[self.objective].takes:
            raise ValueError(
                "selection_steps and allocate need an objective with attack steps (pgd, pgd-l2, trades, "
                f"perceptual), allocate takes atta too; got {self.objective!r}"
            )
        check_count("selection_steps", steps, low=1)
        alpha = min(self.alpha * self.steps / steps, 1.25 * self.eps)
        return build_objective(self.objective, {**self.as_dict(), "steps": steps, "alpha": alpha})

    def build_cheap(self, objective: Objective) -> Objective:
        """What samples outside the coreset get with `allocate`: a step, or where `objective` remembers attacks, none.

        Raises:
            ValueError: the objective has neither steps to choose nor a memory.
        """
        return objective.resting() if isinstance(objective, ATTA) else self.build_cheaper(1)

    @property
    def allocates(self) -> bool:
        """`allocate`, or what it means where it is None."""
        if self.allocate is not None:
            return self.allocate
        return self.objective == "atta" and self.granularity != "batch"

    @property
    def engine(self) -> Engine:
        return Engine(self.channels_last, self.compile, self.amp)

    @property
    def norm(self) -> str:
        return "l2" if self.objective == "pgd-l2" else "linf"

    @property
    def selection(self) -> dict[str, Any]:
        """Arguments of `AdversarialCoreset`, all but the gradient source. Full data is a warm start without end."""
        if self.method in ("full", "full-short"):
            epochs = self.epochs if self.method == "full" else self.short_epochs
            schedule = Schedule.published(epochs, 1.0, self.period, warm_start=1.0)
            return {"selector": "random-fixed", "fraction": 1.0, "schedule": schedule, "seed": self.seed}
        return {
            "selector": self.build_selector(), "fraction": self.fraction, "schedule": self.schedule, "seed": self.seed,
        }  # fmt: skip

    def build_selector(self) -> Selector:
        """The selector of the method, with the granularity and backend of the run."""
        per_class, kind = self.granularity != "global", {"craig": Craig, "gradmatch": GradMatch, "clusters": Clusters}
        if self.method not in kind:
            return build_selector(self.method)
        chosen: Selector = kind[self.method](per_class=per_class, backend=self.backend)
        return PerBatch(chosen, self.batch_size) if self.granularity == "batch" else chosen

    @property
    def schedule(self) -> Schedule:
        """Of the coreset method."""
        if self.allocates:
            warm = self.warm_start if int(self.warm_start * self.epochs) else min(1.0, 1.5 / self.epochs)
            return Schedule.every(
                self.epochs, self.period, warm if self.resolved_refresh == "train" else self.warm_start
            )
        kind = Schedule.refreshing if self.resolved_refresh == "train" else Schedule.published
        return kind(self.epochs, self.fraction, self.period, self.warm_start)

    @property
    def short_epochs(self) -> int:
        """Full-data epochs at the cost of the coreset schedule: as many samples, or with `allocate` as many passes."""
        if not self.allocates:
            return max(1, round(self.schedule.cost(self.fraction)))
        rests = self.objective == "atta"
        strong, cheap = (2, 1) if rests else (self.steps + 1, 2)  # passes of the attack's steps and of the loss
        chosen = self.epochs - (1.0 - self.fraction) * self.schedule.kinds.count("selective")
        return max(1, round(chosen + (self.epochs - chosen) * cheap / strong))

    def _check_selection(self) -> None:
        check_choice("refresh", self.refresh, (AUTO, *REFRESHES))
        if self.selection_steps is not None:
            self.build_cheaper(self.selection_steps)
        if self.allocates:
            self.build_cheap(self.build_objective())
        if self.refresh == "train" and self.compile:
            raise ValueError("refresh='train' watches the model's head while training, which compile=True would miss")
        if self.method in SELECTORS:
            self.build_selector()

    @property
    def resolved_refresh(self) -> str:
        """Which gradients a selection takes: "attack" or "train"."""
        if self.method not in SELECTORS or not self.build_selector().needs_gradients:
            return "attack"
        if self.refresh != AUTO:
            return self.refresh
        attacked = self.compile or self.selection_steps is not None or not self.build_objective().closed_form
        return "attack" if attacked else "train"

    @property
    def comparison(self) -> list[str]:
        """What a comparison holds where nothing is said: the method itself, CRAIG, GradMatch and the controls."""
        return list(dict.fromkeys((*CLASSICS[:2], self.method, *CLASSICS[2:])))

    def with_method(self, method: str, seed: int) -> RunConfig:
        return replace(self, method=method, seed=seed)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
