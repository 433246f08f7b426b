"""A run on a budget of counted passes: attacks, steps and selections cost the same in every arm."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast import Clusters, Craig, GradMatch, Random, RoundRobin, Schedule, Vanilla, evaluate
from acs_fast._util.checks import check_choice, check_count, check_number
from acs_fast._util.randomness import derived_seed
from acs_fast.evaluation.accuracy import standing
from acs_fast.evaluation.figures import of_parts, share
from acs_fast.gradients import AttackPass
from acs_fast.objectives import PGD, Objective, untouched
from acs_fast.selection import Selector
from acs_fast.training import checkpoint
from acs_fast.training.run import RESULT, STAGES
from benchmarks.experiments import pools
from benchmarks.experiments.arms import (
    SEEN,
    Aligned,
    ByLoss,
    ClassQuotas,
    RandomClusters,
    SmallLoss,
    Stale,
    Trusted,
    TrustedMatch,
    Unflipped,
    View,
)
from benchmarks.experiments.trial import Trial, TrialConfig

STEP, SCORE = 3, 1  # passes: forward 1, backward to the input 1, backward to the weights another 1
AUTOATTACKED = 500  # images
ARMS: dict[str, Callable[[BudgetConfig], Selector]] = {
    "craig": lambda c: Craig(weights=c.coreset_weights, per_class=c.per_class),
    "gradmatch": lambda c: GradMatch(per_class=c.per_class),
    "clusters": lambda c: Clusters(c.clusters, c.power, per_class=c.per_class),
    "random-clusters": lambda c: RandomClusters(c.clusters, c.power, per_class=c.per_class),
    "class-quotas": lambda c: ClassQuotas(c.power),
    "by-loss": lambda c: ByLoss(c.power),
    "round-robin": lambda c: RoundRobin(),
    "stale": lambda c: Stale(),
    "top-loss": lambda c: ByLoss(float("inf")),
    "small-loss": lambda c: SmallLoss(),
    "trusted": lambda c: Trusted(),
    "trusted-match": lambda c: TrustedMatch(c.trusted),
    "aligned": lambda c: Aligned(c.trusted),
    "unflipped": lambda c: Unflipped(),
    "balanced-fixed": lambda c: Random(lasts="run", stratified=True),
}


@dataclass(frozen=True)
class BudgetConfig(TrialConfig):
    """A `TrialConfig` whose length is a number of passes, on a pool that its seed draws.

    Attributes:
        passes: the budget; see `visit_passes` and `scoring_passes`.
        pairing, minority, flipped, trusted: of the pool; see `pools.draw`. Its size is `limit`.
        warm: epochs on all data before the first selection.
        arm: a name from `ARMS`, or "" for what `method` says.
        clusters, power, coreset_weights, per_class: arguments of the arm's selector.
        seen: what the selector looks at; see `View`.
        scored: gradients of a selection at "clean" images or at those after the "attack".
        reference_passes: of a model that is trained first, on the whole pool, and selects in place of the model
            itself; not part of the budget.
        tested_on: "test" or "validation" images.
        test_from: number of the first of them.
        autoattack_seeds: AutoAttack on 500 test images for seeds below this number.
    """

    passes: int = 288_000
    pairing: int = 0
    minority: float = 0.05
    flipped: float = 0.0
    trusted: int = 0
    warm: int = 0
    arm: str = ""
    clusters: int = 100
    power: float = 0.0
    coreset_weights: str = "size"
    per_class: bool = True
    seen: str = "gradients"
    scored: str = "clean"
    reference_passes: int = 0
    tested_on: str = "test"
    test_from: int = 0
    autoattack_seeds: int = 0

    def __post_init__(self) -> None:
        if self.limit is None:
            raise ValueError("limit must be the size of the pool; got None")
        check_count("passes", self.passes, low=1)
        check_count("test_from", self.test_from)
        check_number("minority", self.minority, low=0.0, high=0.5, above=True)
        check_number("flipped", self.flipped, low=0.0, high=1.0)
        for name, choices in (
            ("pairing", (0, *pools.PAIRINGS)), ("arm", ("", *ARMS)), ("seen", SEEN), ("scored", ("clean", "attack")),
            ("tested_on", ("test", "validation")),
        ):  # fmt: skip
            check_choice(name, getattr(self, name), choices)
        super().__post_init__()

    def run(self, source: str, folder: Path) -> dict[str, Any]:
        """See `TrialConfig.run`."""
        drawn = (self.limit, self.validation_limit, self.pairing, self.minority, self.seed, self.flipped, self.trusted)
        pool = pools.draw(source, *drawn)
        return self.run_on(pool, folder, BudgetTrial)

    def build_selector(self) -> Selector:
        return ARMS[self.arm](self) if self.arm else super().build_selector()

    @property
    def as_reference(self) -> BudgetConfig:
        """Training of the reference model: on all data, the same for every arm."""
        plain = {
            f.name: f.default for f in fields(self) if f.name in ("arm", "seen", "scored", "coreset_weights", "power")
        }
        return replace(self, method="full", passes=self.reference_passes, reference_passes=0, fraction=1.0, **plain)

    @property
    def schedule(self) -> Schedule:
        """More epochs than the budget pays for."""
        kind = "full" if not self.selects else "selective" if self.is_selective else "coreset"
        cheapest = self.limit * (1.0 if kind != "coreset" else self.fraction)
        epochs = self.warm + 1 + int(self.passes / (STEP * max(1, int(cheapest))))
        due = frozenset(range(self.warm, epochs, self.period)) if self.selects else frozenset()
        return Schedule(("full",) * self.warm + (kind,) * (epochs - self.warm), due)

    @property
    def visit_passes(self) -> dict[str, float]:
        """Passes of one training sample by the epoch's kind: its attack, and the step."""
        one_step = self.objective in ("atta", "fgsm", "nfgsm", "fgsm-pgi")
        strong = 0 if self.objective == "vanilla" else 2 if one_step else 2 * self.steps
        cheap = 0 if self.objective == "atta" else 2
        mixed = self.fraction * strong + (1.0 - self.fraction) * cheap
        return {"full": STEP + strong, "coreset": STEP + strong, "selective": STEP + mixed}

    @property
    def scoring_passes(self) -> int:
        """Passes of one sample in a selection; a reference model's, and those of training, are not paid again."""
        free = self.takes_training_passes or self.reference_passes or self.seen in ("pixels", "kinds")
        if free or not self.selects or not self.build_selector().needs_gradients:
            return 0
        return SCORE + (2 * (self.selection_steps or self.steps) if self.scored == "attack" else 0)

    def visits(self, n: int) -> list[int]:
        """How many samples of each epoch the budget pays for; the last epoch may be a part of one."""
        left, schedule, paid = float(self.passes), self.schedule, []
        for epoch, kind in enumerate(schedule.kinds):
            left -= self.scoring_passes * n * (epoch in schedule.due)
            size = max(1, int(self.fraction * n)) if kind == "coreset" else n
            affordable = min(size, int(left / self.visit_passes[kind]))
            if affordable < min(size, self.batch_size):
                break
            paid.append(affordable)
            left -= affordable * self.visit_passes[kind]
        return paid


class BudgetTrial(Trial):
    """A run that trains until its passes are used up, and is judged by its averaged weights at the end."""

    config: BudgetConfig
    splits: pools.Pool

    def train(self) -> dict[str, Any]:
        self.learn()
        self.folder.mkdir(parents=True, exist_ok=True)
        result = self._result()
        checkpoint.write_json(self.folder / RESULT, result)
        return result

    def learn(self) -> None:
        """Train until the budget is used up."""
        config = self.config
        visits = config.visits(len(self.splits.train))
        batches = [-(-count // config.batch_size) for count in visits]
        self.learner.total_batches = sum(batches)
        start, begun = time.process_time(), time.perf_counter()
        for epoch, count in enumerate(batches):
            selected = self.coreset.step(epoch)
            entry = self.learner.train_epoch(epoch, islice(self.loader, count))
            entry["seconds"]["selection"] = 0.0 if selected is None else selected.stats["seconds"]["total"]
            self.log.append({**entry, "coreset": None if selected is None else selected.stats})
        self.spent = {"cpu": time.process_time() - start, "wall": time.perf_counter() - begun}

    def _gradient_source(self, model: nn.Module, objective: Objective) -> Any:
        config, pool = self.config, self.splits
        if config.takes_training_passes or not config.selects or not config.build_selector().needs_gradients:
            return super()._gradient_source(model, objective)
        attack = Vanilla() if config.scored == "clean" else config.build_objective(config.selection_steps)
        if config.reference_passes:
            model = _reference(config.as_reference, pool)
        source = AttackPass(model, pool.train, attack, show_progress=False)
        return source if config.seen == "gradients" else View(source, config.seen, pool.train, pool.train_groups)

    def _result(self) -> dict[str, Any]:
        config, n = self.config, len(self.splits.train)
        coresets = [e["coreset"] for e in self.log if e["coreset"] is not None]
        stages = {k: sum(e["seconds"].get(k, 0.0) for e in self.log) for k in STAGES if k != "validation"}
        errors = [c["relative_gradient_error"] for c in coresets if c["relative_gradient_error"] is not None]
        kinds = self.coreset.schedule.kinds
        visited = sum(config.visit_passes[kinds[i]] * e["samples"] for i, e in enumerate(self.log))
        selections = sum(i in self.coreset.schedule.due for i in range(len(self.log)))
        return {
            "config": config.as_dict(), "test": {"average": self._test(self.average)},
            "seconds": {**stages, "training": stages["attack"] + stages["step"], **self.spent},
            "passes": visited + selections * config.scoring_passes * n, "steps": self.learner.batches,
            "samples_visited": sum(e["samples"] for e in self.log), "times_selected": selections,
            "gradient_error": sum(errors) / len(errors) if errors else None,
            "effective_size": coresets[-1]["effective_size"] if coresets else None,
        }  # fmt: skip

    def _test(self, model: nn.Module) -> dict[str, Any]:
        """Accuracy in all, by kind, in the worst kind and on average over kinds."""
        config, pool = self.config, self.splits
        images, kinds = getattr(pool, config.tested_on), getattr(pool, f"{config.tested_on}_groups")
        rows = torch.arange(config.test_from, min(config.test_from + config.test_limit, len(images)))
        images, kinds = images.part(rows), kinds[rows]
        attack = PGD(config.radius, 2.5 * config.radius / config.test_steps, config.test_steps, config.norm)
        clean, robust = [], []
        with untouched(model), attack.seeded(derived_seed("test", config.seed)):
            for x, y in images.loader():
                clean.append(standing(model, x, y, None))
                robust.append(standing(model, x, y, attack, config.test_restarts))
        parts = of_parts(torch.cat(robust), kinds)
        figures = {"clean": share(torch.cat(clean)), "robust": share(torch.cat(robust)), **parts,
                   "clean_balanced": of_parts(torch.cat(clean), kinds)["balanced"]}  # fmt: skip
        if config.seed < config.autoattack_seeds:
            figures["autoattack"] = self._autoattack(model, images, kinds)
        return figures

    def _autoattack(self, model: nn.Module, images: Any, kinds: Tensor) -> dict[str, float]:
        few = images.first(AUTOATTACKED)
        found = evaluate(
            model, few.loader(), eps=self.config.radius, steps=self.config.test_steps, restarts=1, curve=[],
            groups=kinds[:AUTOATTACKED],
        )  # fmt: skip
        return {"robust": found["robust"], **{k: found["groups"]["robust"][k] for k in ("balanced", "worst")}}


@lru_cache(maxsize=1)
def _reference(config: BudgetConfig, pool: pools.Pool) -> nn.Module:
    """A model trained on the whole pool, the same for all arms of a seed."""
    trial = BudgetTrial(config, pool, Path(), torch.device("cpu"), show_progress=False)
    trial.learn()
    return trial.average
