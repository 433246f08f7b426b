"""Plans of the experiments whose selection has a target of its own, E8 to E11, committed before they were run.

All of them: one-sided paired t-tests by seed of the averaged weights of the last step, adjusted by Holm for all named
controls together; a plan succeeds where every lower 95 % bound lies above 0 and the smallest mean difference reaches
the threshold. Arms of a seed share the pool, the initial weights and the counted passes: forward 1, backward to the
input 1, backward to the weights another 1, so that a sample with PGD-3 costs 9 and one scored at its clean image 1.
Learning rates follow a cosine by step. Settings were fixed on seeds 100 to 103 and validation images, which no plan
uses: the learning rate, the same for every arm (0.06 did better than 0.03 for the shorter schedule, random and clusters), the size of the coreset for each arm (an
eighth, a quarter or half) and the number of clusters (15, 25 or 100); test images are looked at once. AutoAttack is
left out for want of time.
"""

from __future__ import annotations

from typing import Any

from benchmarks.experiments.budgeted import BudgetConfig
from benchmarks.experiments.plan import Experiment, Variant

POOL: dict[str, Any] = {
    "limit": 8000, "width": 8, "objective": "pgd", "eps": 0.1, "alpha": 0.05, "steps": 3, "eps_warm_up": 0.15,
    "batch_size": 32, "learning_rate": 0.06, "method": "random", "fraction": 0.5, "period": 2, "gradients": "attack",
    "passes": 288_000, "test_limit": 4000, "test_steps": 20, "test_restarts": 1, "validation_limit": 2000,
}  # fmt: skip
DIGITS: dict[str, Any] = {"limit": 600, "passes": 30_000, "test_limit": 200, "validation_limit": 100}
BALANCED = ("balanced", "average")

SHORTER, REDRAWN, ORACLE = "shorter schedule", "random, redrawn", "oracle: kinds known"
CLUSTERS, SHUFFLED = "clusters, equal shares", "random clusters of the same sizes"
QUARTER: dict[str, Any] = {
    "fraction": 0.25,
    "period": 4,
    "warm": 1,
}  # an epoch on all data, scores every 2,000 * 4 visits
HIDDEN: dict[str, dict[str, Any]] = {  # fractions are those that did best on the pilot seeds
    SHORTER: {"method": "full"},
    REDRAWN: {},
    "random in classes": {"method": "random-stratified"},
    "class quotas by error (DRoP, tempered)": {"arm": "class-quotas", "power": 0.5, "warm": 1},
    "in proportion to loss": {"arm": "by-loss", "power": 1.0, "warm": 1},
    "CRAIG, size weights": {"arm": "craig", "fraction": 0.125, "period": 8, "warm": 1},
    "CRAIG, equal weights": {"arm": "craig", "coreset_weights": "equal", **QUARTER},
    SHUFFLED: {"arm": "random-clusters", "clusters": 25, **QUARTER},
    CLUSTERS: {"arm": "clusters", "clusters": 25, **QUARTER},
    ORACLE: {"arm": "clusters", "seen": "kinds", "clusters": 10, "fraction": 0.25},
}
NAMED = tuple(label for label in HIDDEN if label not in (CLUSTERS, ORACLE))


def _variants(arms: dict[str, dict[str, Any]], group: str = "", **shared: Any) -> tuple[Variant, ...]:
    return tuple(Variant(label, {**shared, **settings}, group) for label, settings in arms.items())


def _plan(
    name: str, title: str, question: str, minutes: float, variants: tuple[Variant, ...], **more: Any
) -> Experiment:
    own = {"base": POOL, "seeds": 10, "first_seed": 1000, "figure": BALANCED, "digits": DIGITS, **more}
    return Experiment(name, title, question, minutes, variants=variants, config=BudgetConfig, full="", **own)


PLANNED = (
    _plan(
        "E8", "One label, two kinds",
        "Two kinds of clothes hide under each of five labels, 95:5. Does a selection that never sees the kinds make "
        "the rare ones more robust than every control does in as many passes?",
        30, _variants(HIDDEN), base={**POOL, "pairing": 1}, candidate=CLUSTERS,
        controls=NAMED, oracle=ORACLE, threshold=2.0,
    ),
)  # fmt: skip
