"""Settings of a run: default, help and check of each, in one place."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any

from acs_fast._util.checks import check_choice, check_count, check_number
from acs_fast._util.options import check_kinds, option
from acs_fast.objectives import ATTA, OBJECTIVES, Objective, build_objective
from acs_fast.schedule import Schedule
from acs_fast.selection import SELECTORS, Clusters, Craig, GradMatch, PerBatch, Selector, build_selector
from acs_fast.training.augment import AUGMENTATIONS
from acs_fast.training.data import SOURCES
from acs_fast.training.engine import Engine
from acs_fast.training.models import SPECS
from acs_fast.training.rates import LR_SCHEDULES
from acs_fast.training.trackers import TRACKERS

SELECTIVE = "selective"
METHODS = {
    "full": "full data, best checkpoint",
    "full-short": "full data, shorter schedule of the same cost",
    SELECTIVE: "full data, the strong attack for a part only, in turn",
    **SELECTORS,
}
CONTROLS = ("full", "full-short", "craig", "gradmatch", "random", "random-fixed")
GRANULARITIES = ("class", "batch", "global")
AUTO = "auto"
UNKNOWN_EPS = 8 / 255  # to check other settings by while eps is that of data not yet read
LEAST_VALIDATED, MOST_VALIDATED = 200, 1000  # images by default: little beside the training of an epoch
WITH_MEMORY = ("atta", "fgsm-pgi")  # objectives that remember a perturbation of each sample


def _taking(setting: str) -> str:
    """The objectives that a setting is for."""
    return ", ".join(name for name, entry in OBJECTIVES.items() if setting in entry.takes)


_data = partial(option, group="data")
_model = partial(option, group="model")
_objective = partial(option, group="objective: attack and loss")
_coreset = partial(option, group="coreset")
_training = partial(option, group="training")
_engine = partial(option, group="speed")
_reports = partial(option, group="what is measured and where it goes")


@dataclass(frozen=True)
class RunConfig:
    """One training run. Fields are options of `acs-fast train`; their metadata say what they mean.

    Defaults are what E11d measures (`docs/findings.md`).
    """

    data: str = _data("digits", SOURCES.replace("'", ""), metavar="SOURCE")
    limit: int | None = _data(None, "use at most N training samples", metavar="N", shown="all")
    image_size: int | None = _data(None, "height and width for pictures", metavar="N", shown="those of the first")
    augment: str = _data("none", "; ".join(f"{k}: {v}" for k, v in AUGMENTATIONS.items()), choices=AUGMENTATIONS)
    workers: int = _data(0, "processes that read images", metavar="N")

    model: str = _model("small", SPECS, metavar="SPEC")
    width: int | None = _model(None, "channels of the first layer", metavar="N", shown="16 for small, 64 for resnet18")
    weights: str | None = _model(
        None, "begin with these: a state dict (.pt, .safetensors), or 'pretrained' for timm", metavar="FILE",
        shown="random ones",
    )  # fmt: skip

    objective: str = _objective(
        "atta", "what a sample is attacked with, and what it costs; atta takes one step from its last attack",
        choices=OBJECTIVES,
    )  # fmt: skip
    eps: float | None = _objective(None, "radius of the attack in pixels of [0, 1]", shown="usual for the data")
    alpha: float | None = _objective(None, f"step size, for {_taking('alpha')}", shown="2.5 eps / steps")
    steps: int = _objective(10, f"attack steps, for {_taking('steps')}")
    beta: float = _objective(6.0, f"weight of the divergence, for {_taking('beta')}")
    bound: float = _objective(0.5, f"radius in the perceptual distance, for {_taking('bound')}")
    label_smoothing: float = _objective(0.0, "share of each label that is spread over all classes")
    eps_warm_up: float = _objective(0.3, "share of the steps over which the attack grows to its full size")

    method: str = _coreset(
        "round-robin", "what chooses the coreset, or 'full' for none", choices=METHODS, flag="selector"
    )
    granularity: str = _coreset("class", "choose within classes, among mini-batches or globally", choices=GRANULARITIES)
    fraction: float = _coreset(0.25, "size of the coreset in (0, 1]")
    period: int = _coreset(5, "epochs between selections")
    warm_start: float = _coreset(0.1, "share of the epochs before the first coreset")
    train_on: str = _coreset(
        AUTO, "coreset: train on it alone; all: train on all samples, and give the coreset the strong attack and the "
        "others a cheap one (a single step; with atta their last attack)", choices=(AUTO, "all", "coreset"),
        shown="all with atta, else coreset",
    )  # fmt: skip
    gradients: str = _coreset(
        AUTO, "attack: a selection attacks all samples; training: it takes what training passes showed; pixels: the "
        "images themselves in their place", choices=(AUTO, "attack", "training", "pixels"),
        shown="training where possible",
    )  # fmt: skip
    selection_steps: int | None = _coreset(None, "attack steps while selecting", metavar="N", shown="as in training")
    backend: str = _coreset("auto", "backend of the selection (see `acs-fast doctor`)")

    epochs: int = _training(30, "length of the run")
    batch_size: int = _training(32, "samples of a mini-batch, over all processes")
    accumulate: int = _training(1, "mini-batches whose gradients make one step", metavar="N")
    learning_rate: float = _training(0.03, "highest learning rate of SGD", flag="lr")
    lr_schedule: str = _training(
        "cosine", "; ".join(f"{k}: {v}" for k, v in LR_SCHEDULES.items()), choices=LR_SCHEDULES
    )
    momentum: float = _training(0.9, "of SGD, in [0, 1)")
    weight_decay: float = _training(5e-4, "of SGD")
    ema: float = _training(0.99, "decay of the averaged weights, 0 for none")
    seed: int = _training(0, "(first) seed")

    channels_last: bool = _engine(True, "memory format of images and convolutions")
    compile: bool = _engine(False, "run the model through torch.compile (slow to begin with)")
    amp: bool = _engine(False, "bfloat16 where it is safe, on devices that have it")

    validation_limit: int | None = _reports(
        None, "attack at most N validation images after each epoch", metavar="N",
        shown=f"a twentieth of the training images, {LEAST_VALIDATED} to {MOST_VALIDATED}",
    )  # fmt: skip
    test_limit: int = _reports(1000, "attack at most N test images at the end", metavar="N")
    evaluate_last: bool = _reports(False, "also test the weights of the last epoch (in report.json)")
    log: str = _reports("none", "send the figures of each epoch to", choices=TRACKERS)

    def __post_init__(self) -> None:
        check_kinds(self)
        for each in fields(self):
            if each.metadata.get("choices"):
                check_choice(each.metadata["flag"] or each.name, getattr(self, each.name), each.metadata["choices"])
        for name in ("batch_size", "accumulate", "test_limit"):
            check_count(name, getattr(self, name), low=1)
        if self.validation_limit is not None:
            check_count("validation_limit", self.validation_limit, low=1)
        check_count("workers", self.workers)
        for name in ("learning_rate", "weight_decay"):
            check_number(name, getattr(self, name), low=0.0)
        for name in ("ema", "momentum", "eps_warm_up"):
            check_number(name, getattr(self, name), low=0.0, high=1.0)
        self.schedule  # noqa: B018 - checks its arguments
        self.build_objective()  # checks what only the objective knows
        self._check_combinations()

    def resolved(self, eps: float) -> RunConfig:
        """The same with `eps` where none is given."""
        return self if self.eps is not None else replace(self, eps=eps)

    @property
    def radius(self) -> float:
        """eps, once it is known."""
        return UNKNOWN_EPS if self.eps is None else self.eps

    def validated(self, trained: int) -> int:
        """How many validation images are attacked after each epoch, at most, where so many are trained on."""
        if self.validation_limit is not None:
            return self.validation_limit
        return min(max(LEAST_VALIDATED, trained // 20), MOST_VALIDATED)

    @property
    def norm(self) -> str:
        return "l2" if self.objective == "pgd-l2" else "linf"

    @property
    def engine(self) -> Engine:
        return Engine(self.channels_last, self.compile, self.amp)

    def build_objective(self, steps: int | None = None) -> Objective:
        """The training objective, or with `steps` the same with so many attack steps.

        Steps are then as long as it takes to reach the edge of the ball, and no longer.

        Raises:
            ValueError: the objective's attack has no steps to choose.
        """
        alpha = 2.5 * self.radius / max(1, self.steps) if self.alpha is None else self.alpha
        settings = {**self.as_dict(), "eps": self.radius, "alpha": alpha}
        if self.label_smoothing and "label_smoothing" not in OBJECTIVES[self.objective].takes:
            raise ValueError(f"label_smoothing goes with {_taking('label_smoothing')}; got {self.objective!r}")
        if steps is not None:
            if "steps" not in OBJECTIVES[self.objective].takes:
                raise ValueError(
                    f"selection_steps and train_on='all' need an objective with attack steps ({_taking('steps')}), "
                    f"train_on='all' takes atta too; got {self.objective!r}"
                )
            check_count("selection_steps", steps, low=1)
            settings |= {"steps": steps, "alpha": min(alpha * self.steps / steps, 1.25 * self.radius)}
        return build_objective(self.objective, settings)

    def build_cheap(self, objective: Objective) -> Objective:
        """The attack on samples outside the coreset with train_on="all": one step, or none where `objective` remembers.

        Raises:
            ValueError: the objective has neither steps to choose nor a memory.
        """
        return objective.resting() if isinstance(objective, ATTA) else self.build_objective(steps=1)

    @property
    def selector(self) -> str:
        """Name of the selector: the method, or "round-robin" where only the attack differs."""
        return "round-robin" if self.method == SELECTIVE else self.method

    def build_selector(self) -> Selector:
        """The selector of the method, with the granularity and backend of the run."""
        kinds = {"craig": Craig, "gradmatch": GradMatch, "clusters": Clusters}
        if self.selector in kinds:
            chosen: Selector = kinds[self.selector](per_class=self.granularity != "global", backend=self.backend)
        else:
            chosen = build_selector(self.selector)
        return PerBatch(chosen, self.batch_size) if self.granularity == "batch" else chosen

    @property
    def selects(self) -> bool:
        """Whether there is a coreset at all."""
        return self.selector in SELECTORS

    @property
    def is_selective(self) -> bool:
        """Whether all data are trained on, and the coreset decides what is attacked afresh."""
        if self.method == SELECTIVE:
            return True
        automatic = self.objective == "atta" and self.granularity != "batch"
        return self.selects and (automatic if self.train_on == AUTO else self.train_on == "all")

    @property
    def takes_training_passes(self) -> bool:
        """Whether a selection takes its gradients from training passes."""
        if not self.selects or not self.build_selector().needs_gradients:
            return False
        if self.gradients != AUTO:
            return self.gradients == "training"
        return not self.compile and self.selection_steps is None and self.build_objective().closed_form

    @property
    def schedule(self) -> Schedule:
        """The kinds of all epochs."""
        if not self.selects:
            return Schedule.published(max(1, math.ceil(self.length)), 1.0, self.period, warm_start=1.0)
        if not self.is_selective:
            kind = Schedule.refreshing if self.takes_training_passes else Schedule.published
            return kind(self.epochs, self.fraction, self.period, self.warm_start)
        needs_epoch = self.takes_training_passes and not int(self.warm_start * self.epochs)
        warm_start = min(1.0, 1.5 / self.epochs) if needs_epoch else self.warm_start  # passes of every sample first
        return Schedule.every(self.epochs, self.period, warm_start)

    @property
    def selection(self) -> dict[str, Any]:
        """Arguments of `AdversarialCoreset`, all but the gradient source."""
        selector, fraction = (self.build_selector(), self.fraction) if self.selects else ("random-fixed", 1.0)
        return {"selector": selector, "fraction": fraction, "schedule": self.schedule, "seed": self.seed}

    @property
    def length(self) -> float:
        """Epochs of the run. A shorter schedule, its last one cut, costs what a coreset does, in samples or passes."""
        if self.method != "full-short":
            return self.epochs
        coreset = replace(self, method="random")
        if not coreset.is_selective:
            return round(coreset.schedule.cost(self.fraction), 4)
        strong, cheap = (2, 1) if self.objective == "atta" else (self.steps + 1, 2)  # passes: attack's steps and loss
        chosen = self.epochs - (1.0 - self.fraction) * coreset.schedule.kinds.count("selective")
        return round(chosen + (self.epochs - chosen) * cheap / strong, 4)

    def batches_of(self, epochs: range, whole: int) -> int:
        """Mini-batches of epochs that hold `whole`: those within the length of the run."""
        within = min(self.length, epochs.stop) - epochs.start
        return max(1, math.ceil(round(whole * within / len(epochs), 6)))

    @property
    def comparison(self) -> list[str]:
        """Methods of a comparison by default: the method itself, CRAIG, GradMatch and the controls.

        Where these train on the coreset alone and the attack has a cheap form, also the selective attack.
        """
        selective = not replace(self, method="random").is_selective and "steps" in OBJECTIVES[self.objective].takes
        return list(dict.fromkeys((*CONTROLS[:2], *[SELECTIVE] * selective, self.method, *CONTROLS[2:])))

    def with_method(self, method: str, seed: int) -> RunConfig:
        return replace(self, method=method, seed=seed)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def _check_combinations(self) -> None:
        if self.selection_steps is not None:
            self.build_objective(self.selection_steps)
        if self.is_selective:
            self.build_cheap(self.build_objective())
        if self.gradients == "training" and self.compile:
            raise ValueError("gradients='training' watches the model's head, which compile=True would hide")
        if self.gradients in ("training", "pixels") and self.selection_steps is not None:
            raise ValueError(f"gradients={self.gradients!r} attacks nothing while selecting: leave out selection_steps")
        if self.augment != "none" and self.objective in WITH_MEMORY:
            raise ValueError(
                f"augment={self.augment!r} moves images about, so that the perturbations that {self.objective!r} "
                "remembers of them would not fit: use objective='pgd' or another one without a memory"
            )
        if self.selects:
            self.build_selector()
