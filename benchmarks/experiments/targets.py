"""Plans of the experiments whose selection has a target of its own, and of E1b, committed before they were run.

All of them: one-sided paired t-tests by seed of the averaged weights of the last step, adjusted by Holm for all named
controls together; a plan succeeds where every lower 95 % bound lies above 0 and the smallest mean difference reaches
the threshold. Arms of a seed share the pool, the initial weights and the counted passes: forward 1, backward to the
input 1, backward to the weights another 1, so that a sample with PGD-3 costs 9 and one scored at its clean image 1.
Learning rates follow a cosine by step. Settings of E8 were fixed on seeds 100 to 103 and validation images, which no
plan uses: the learning rate, the same for every arm (0.06 did better than 0.03 for the shorter schedule, random and
clusters), the size of the coreset for each arm (an eighth, a quarter or half) and the number of clusters (15, 25 or
100). In E8 some initial weights died of that learning rate (every image got the same label); E8b and E8c have 0.03
and a warm-up of eps over 30 % of the steps in its place, tried on seed 101 and on validation images of E8's dead seed.
E9 takes the settings of an earlier trial. Learning rates of E11 are those of 0.03 and 0.06 that did better on
validation images of seed 100, and for full training what did better for the shorter schedule. E11b was planned when
E11 was known. E10 has the learning
rate and the warm-up of E8c and no tuning of its own; its checked images are in the pool of every arm. E1b, E8d and E9b
repeat E1, E8c and E9 on fresh seeds, with what these left open, and without tuning. Test images are looked at once.
E8e, E9c, E10b and E11c train networks of E8c, E9, E10 and E11b once more, three seeds of each, to show them to
AutoAttack.
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
FIXED, CRAIG = "random in classes, fixed", "CRAIG, adversarial gradients, size weights"
ONCE: dict[str, dict[str, Any]] = {
    FIXED: {"arm": "balanced-fixed"},
    CRAIG: {"arm": "craig"},
    "CRAIG, adversarial gradients, equal weights": {"arm": "craig", "coreset_weights": "equal"},
    "facility location on features, size weights": {"arm": "craig", "seen": "features"},
    "facility location on features, equal weights": {"arm": "craig", "seen": "features", "coreset_weights": "equal"},
    "facility location on pixels, size weights": {"arm": "craig", "seen": "pixels"},
    "facility location on pixels, equal weights": {"arm": "craig", "seen": "pixels", "coreset_weights": "equal"},
    "GradMatch, adversarial gradients": {"arm": "gradmatch"},
    "largest losses": {"arm": "top-loss"},
    "all 10,000, not stored": {"method": "full"},
}
MATCHED, UNFLIPPED = "GradMatch, trusted target", "oracle: flipped labels known"
DIRTY: dict[str, dict[str, Any]] = {
    SHORTER: {"method": "full"},
    REDRAWN: {},
    "trusted images alone": {"arm": "trusted", "fraction": 0.025},
    "smallest losses": {"arm": "small-loss", "warm": 1},
    "most aligned with trusted gradients (GLISTER)": {"arm": "aligned", "warm": 1},
    "CRAIG, size weights (CRUST)": {"arm": "craig", "warm": 1},
    "CRAIG, equal weights": {"arm": "craig", "coreset_weights": "equal", "warm": 1},
    MATCHED: {"arm": "trusted-match", "warm": 1},
    UNFLIPPED: {"arm": "unflipped", "seen": "kinds"},
}
IN_TURN = "new attacks for a quarter in turn"
FULL, QUARTER_ATTACKED = "PGD-5 for all, three times the passes", "new attacks for a random quarter"
SELECTIVE: dict[str, Any] = {
    "objective": "atta", "method": "random", "train_on": "all", "gradients": "training", "fraction": 0.25, "warm": 1,
}  # fmt: skip
ATTACKED: dict[str, dict[str, Any]] = {
    FULL: {"passes": 2_496_000, "learning_rate": 0.06},
    QUARTER_ATTACKED: SELECTIVE,
    IN_TURN: {**SELECTIVE, "arm": "round-robin"},
    "new attacks for a quarter, the stalest": {**SELECTIVE, "arm": "stale", "learning_rate": 0.06},
    "new attacks for a quarter, by clusters": {**SELECTIVE, "arm": "clusters", "clusters": 100},
    "new attacks for all": {"objective": "atta"},
    "one step for all (FGSM-RS)": {"objective": "fgsm", "alpha": None},
    "one step for all (N-FGSM)": {"objective": "nfgsm", "alpha": None, "learning_rate": 0.06},
    "PGD-5 for all": {"learning_rate": 0.06},
}
GENTLY: dict[str, dict[str, Any]] = {
    FULL: {"passes": 2_496_000},
    "PGD-5 for all": {},
    QUARTER_ATTACKED: SELECTIVE,
    IN_TURN: ATTACKED[IN_TURN],
}
NAMED_IN_DIRT = (SHORTER, REDRAWN, "trusted images alone", "smallest losses")
NAMED = tuple(label for label in HIDDEN if label not in (CLUSTERS, ORACLE))
GENTLE: dict[str, Any] = {"learning_rate": 0.03, "eps_warm_up": 0.3}
STRONGEST = {
    label: HIDDEN[label]
    for label in (SHORTER, REDRAWN, "in proportion to loss", "CRAIG, equal weights", SHUFFLED, CLUSTERS)
}
FEW = {label: HIDDEN[label] for label in (SHORTER, REDRAWN, "CRAIG, equal weights", CLUSTERS)}
CLUSTERED: dict[str, Any] = HIDDEN[CLUSTERS]
ABLATED: dict[str, dict[str, Any]] = {
    CLUSTERS: CLUSTERED,
    "10 clusters": {**CLUSTERED, "clusters": 10},
    "50 clusters": {**CLUSTERED, "clusters": 50},
    "100 clusters": {**CLUSTERED, "clusters": 100},
    "400 clusters": {**CLUSTERED, "clusters": 400},
    "shares by the root of their sizes": {**CLUSTERED, "power": 0.5},
    "shares by their sizes": {**CLUSTERED, "power": 1.0},
    "clusters over all classes at once": {**CLUSTERED, "per_class": False},
    "adversarial gradients": {**CLUSTERED, "scored": "attack"},
    "features in place of gradients": {**CLUSTERED, "seen": "features"},
    "residuals in place of gradients": {**CLUSTERED, "seen": "residuals"},
    "pixels in place of gradients": {**CLUSTERED, "seen": "pixels"},
    "selected every second epoch": {**CLUSTERED, "period": 2},
    "selected once": {**CLUSTERED, "period": 10**6},
    SHUFFLED: HIDDEN[SHUFFLED],
    REDRAWN: HIDDEN[REDRAWN],
}
KEPT = {
    label: ONCE[label]
    for label in (FIXED, CRAIG, "facility location on features, size weights",
                  "facility location on pixels, size weights")
}  # fmt: skip
FREE = "CRAIG, gradients of training passes"
CHEAP: dict[str, dict[str, Any]] = {
    SHORTER: {"method": "full"},
    REDRAWN: {"warm": 1},
    "CRAIG, one-step selection attack": {"arm": "craig", "scored": "attack", "selection_steps": 1, "warm": 1},
    FREE: {"method": "craig", "gradients": "training", "warm": 1},
}
ATTACKED_HARDER = {label: GENTLY[label] for label in (FULL, "PGD-5 for all", IN_TURN)}
DIRT_ATTACKED = {label: DIRTY[label] for label in (*NAMED_IN_DIRT, MATCHED)}
CLUSTERS_ATTACKED = {label: HIDDEN[label] for label in (SHORTER, REDRAWN, CLUSTERS)}
OTHERS: dict[str, dict[str, Any]] = {
    "90:10": {"minority": 0.1}, "98:2": {"minority": 0.02}, "95:5, other pairs": {"pairing": 2},
}  # fmt: skip


def variants(arms: dict[str, dict[str, Any]], group: str = "", **shared: Any) -> tuple[Variant, ...]:
    """One variant for each arm."""
    return tuple(Variant(label, {**shared, **settings}, group) for label, settings in arms.items())


def planned(
    name: str, title: str, question: str, minutes: float, chosen: tuple[Variant, ...], **more: Any
) -> Experiment:
    """A plan with its candidate, controls and threshold in `more`."""
    own = {"base": POOL, "seeds": 10, "first_seed": 1000, "figure": BALANCED, "digits": DIGITS, **more}
    return Experiment(name, title, question, minutes, variants=chosen, config=BudgetConfig, full="", **own)


PLANNED = (
    planned(
        "E8", "One label, two kinds",
        "Two kinds of clothes hide under each of five labels, 95:5. Does a selection that never sees the kinds make "
        "the rare ones more robust than every control does in as many passes?",
        30, variants(HIDDEN), base={**POOL, "pairing": 1}, candidate=CLUSTERS,
        controls=NAMED, oracle=ORACLE, threshold=2.0,
    ),
    planned(
        "E8b", "One label, two kinds: other shares and other pairs",
        "Does the answer of E8 hold where the rare kinds are a tenth or a fiftieth of their label, and with other "
        "kinds under the labels?",
        14,
        tuple(v for group, settings in OTHERS.items() for v in variants(FEW, group, **settings)),
        base={**POOL, **GENTLE, "pairing": 1}, seeds=4, first_seed=2000, candidate=CLUSTERS,
        controls=(SHORTER, REDRAWN, "CRAIG, equal weights"), threshold=2.0,
    ),
    planned(
        "E8c", "One label, two kinds: again, where no network dies",
        "Does the answer of E8 change with settings under which all initial weights learn? On fresh seeds, against its "
        "strongest controls.",
        17, variants(STRONGEST), base={**POOL, **GENTLE, "pairing": 1}, first_seed=3000, candidate=CLUSTERS,
        controls=tuple(label for label in STRONGEST if label != CLUSTERS), threshold=2.0,
    ),
    planned(
        "E9", "Select once, train many",
        "Only 300 of 10,000 images may be kept. Are those that a reference model picks better to train on than random "
        "ones of each class, in as many passes, and do gradients beat pixels?",
        17, variants(ONCE), figure=("robust", "average"), candidate=CRAIG, controls=(FIXED,), threshold=1.5,
        base={**POOL, "limit": 10_000, "fraction": 0.03, "period": 10**6, "learning_rate": 0.03, "scored": "attack",
              "passes": 144_000, "reference_passes": 144_000},
    ),
    planned(
        "E1b", "Speed against accuracy: cheap selections, again",
        "Where selecting is nearly free, does a weighted three tenths of the data beat what costs nothing to run, in "
        "as many passes?",
        8, variants(CHEAP), figure=("robust", "average"), candidate=FREE,
        controls=tuple(label for label in CHEAP if label != FREE), threshold=0.0, seeds=5, first_seed=8000,
        base={**POOL, **GENTLE, "steps": 5, "fraction": 0.3, "period": 5, "passes": 416_000},
    ),
    planned(
        "E8d", "One label, two kinds: what of the clusters matters",
        "How many clusters, of what, with which shares, and selected how often? And do those of E8c beat random ones "
        "of the same sizes and a redrawn random subset once more?",
        20, variants(ABLATED), base={**POOL, **GENTLE, "pairing": 1}, seeds=5, first_seed=6000, candidate=CLUSTERS,
        controls=(SHUFFLED, REDRAWN), threshold=2.0,
    ),
    planned(
        "E9b", "Select once, train many: fewer and more",
        "Does the answer of E9 hold where 100 of 10,000 images are kept, or 1,000?",
        8,
        tuple(v for k in (100, 1000) for v in variants(KEPT, f"k = {k:,}", fraction=k / 10_000)),
        figure=("robust", "average"), candidate=CRAIG, controls=(FIXED,), threshold=1.5, seeds=5, first_seed=7000,
        base={**POOL, "limit": 10_000, "fraction": 0.03, "period": 10**6, "learning_rate": 0.03, "scored": "attack",
              "passes": 144_000, "reference_passes": 144_000},
    ),
    planned(
        "E10", "Dirty pool, small trusted set",
        "Four labels in ten are wrong, 200 of 8,000 are known to be right. Does a coreset whose gradient matches that "
        "of the checked images beat every control in as many passes?",
        22, variants(DIRTY), figure=("robust", "average"), candidate=MATCHED, controls=NAMED_IN_DIRT,
        oracle=UNFLIPPED, threshold=1.0, first_seed=5000,
        base={**POOL, **GENTLE, "flipped": 0.4, "trusted": 200, "passes": 144_000},
    ),
    planned(
        "E11", "Attack a part: the default, in a saturated setting",
        "Does new attacks for a random quarter, in a third of the passes, come within a point of PGD training of 6,000 "
        "steps and of everything else that these passes buy, the choice of the quarter included?",
        85, variants(ATTACKED), figure=("robust", "average"), candidate=QUARTER_ATTACKED,
        controls=tuple(label for label in ATTACKED if label != QUARTER_ATTACKED), threshold=-1.0, first_seed=4000,
        base={**POOL, **GENTLE, "method": "full", "steps": 5, "fraction": 0.25, "passes": 832_000},
    ),
    planned(
        "E11b", "Attack a part: in turn, where PGD learns gently",
        "E11's PGD lost networks at its learning rate of 0.06, and a quarter in turn led a random one. With half of "
        "that rate for all and on fresh seeds: is a quarter in turn within a point of full PGD, and ahead of random?",
        36, variants(GENTLY), figure=("robust", "average"), candidate=IN_TURN,
        controls=tuple(label for label in GENTLY if label != IN_TURN), threshold=-1.0, seeds=6, first_seed=9000,
        base={**POOL, **GENTLE, "method": "full", "steps": 5, "fraction": 0.25, "passes": 832_000},
    ),
    planned(
        "E11c", "Attack a part: under AutoAttack",
        "Does a quarter in turn stay within a point of full PGD training where the networks of E11b meet AutoAttack?",
        50, variants(ATTACKED_HARDER), figure=("autoattack", "average"), candidate=IN_TURN,
        controls=(FULL, "PGD-5 for all"), threshold=-1.0, seeds=3, first_seed=9000,
        base={**POOL, **GENTLE, "method": "full", "steps": 5, "fraction": 0.25, "passes": 832_000,
              "autoattack_seeds": 9003},
    ),
    planned(
        "E8e", "One label, two kinds: under AutoAttack",
        "Do clusters lead redrawn random and the shorter schedule where the networks of E8c meet AutoAttack?",
        50, variants(CLUSTERS_ATTACKED), figure=("autoattack", "average"), candidate=CLUSTERS,
        controls=(SHORTER, REDRAWN), threshold=2.0, seeds=3, first_seed=3000,
        base={**POOL, **GENTLE, "pairing": 1, "autoattack_seeds": 3003},
    ),
    planned(
        "E9c", "Select once, train many: under AutoAttack",
        "Do 300 images that CRAIG picks lead random ones of each class where the networks of E9 meet AutoAttack?",
        22, variants({label: ONCE[label] for label in (FIXED, CRAIG)}), figure=("autoattack", "average"),
        candidate=CRAIG, controls=(FIXED,), threshold=1.5, seeds=3,
        base={**POOL, "limit": 10_000, "fraction": 0.03, "period": 10**6, "learning_rate": 0.03, "scored": "attack",
              "passes": 144_000, "reference_passes": 144_000, "autoattack_seeds": 1003},
    ),
    planned(
        "E10b", "Dirty pool, small trusted set: under AutoAttack",
        "Does AutoAttack rank E10's candidate and its controls as PGD-20 does?",
        40, variants(DIRT_ATTACKED), figure=("autoattack", "average"), candidate=MATCHED, controls=NAMED_IN_DIRT,
        threshold=1.0, seeds=3, first_seed=5000,
        base={**POOL, **GENTLE, "flipped": 0.4, "trusted": 200, "passes": 144_000, "autoattack_seeds": 5003},
    ),
)  # fmt: skip
