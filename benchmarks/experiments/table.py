"""The experiments, as a table: E1 to E6. E4 is a figure drawn from the runs of E1.

All share one base, so that the same run in two experiments is made once. The schedule is the published one at a
quarter of its length. Sizes are such that the whole table takes about two hours of one core; `minutes` are core-minutes
for three seeds on one AVX-512 core of 2.6 GHz, without the runs that an earlier row has made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.experiments.plan import Experiment, SameSeconds, Variant

BASE: dict[str, Any] = {
    "limit": 3000, "width": 8, "objective": "pgd", "eps": 0.1, "alpha": 0.05, "steps": 5, "epochs": 30, "period": 5,
    "warm_start": 0.5, "fraction": 0.3, "batch_size": 32, "learning_rate": 0.03, "evaluate_last": True,
    "test_limit": 1000, "test_steps": 20, "test_restarts": 1, "validation_limit": 300,
}  # fmt: skip

FULL = "full"
CRAIG, GRADMATCH = "CRAIG", "GradMatch"
RANDOM, FIXED, SHORT = "random, redrawn", "random, fixed", "shorter schedule"
SHORT_SECONDS, RANDOM_SECONDS = "shorter schedule, same seconds as CRAIG", "random, same seconds as CRAIG"

FRACTIONS = (0.1, 0.3, 0.5)
PERIODS = (1, 2, 5, 10, 20)
VARIANCE_DRAWS = 20
WARM_STARTS = (0.0, 0.2, 0.4, 0.5, 0.6)

OBJECTIVES: dict[str, dict[str, Any]] = {
    "PGD linf": {},
    "PGD l2": {"objective": "pgd-l2", "eps": 1.0, "alpha": 0.5},
    "TRADES": {"objective": "trades", "beta": 6.0},
    "perceptual": {"objective": "perceptual"},
}
FAST: dict[str, dict[str, Any]] = {
    "FGSM-RS": {"objective": "fgsm"},
    "N-FGSM": {"objective": "nfgsm"},
    "FGSM-PGI": {"objective": "fgsm-pgi"},
}


def _e1() -> tuple[Variant, ...]:
    """Full training once; every method at every fraction, and two controls at the seconds that CRAIG took."""
    variants = [Variant(FULL, {"method": "full"})]
    methods = {CRAIG: "craig", GRADMATCH: "gradmatch", RANDOM: "random", FIXED: "random-fixed", SHORT: "full-short"}
    for fraction in FRACTIONS:
        group, share = f"fraction {fraction:g}", {"fraction": fraction}
        for label, method in methods.items():
            variants.append(Variant(label, {**share, **_method(method)}, group, fraction))
        variants += [
            Variant(SHORT_SECONDS, {"method": "full"}, group, fraction, SameSeconds(CRAIG, FULL)),
            Variant(RANDOM_SECONDS, {**share, **_method("random")}, group, fraction, SameSeconds(CRAIG, RANDOM)),
        ]
    return tuple(variants)


def _grid(rows: Mapping[str, Mapping[str, Any]], methods: Mapping[str, str]) -> tuple[Variant, ...]:
    """Every method under every objective."""
    return tuple(
        Variant(label, {**settings, **_method(method)}, group)
        for group, settings in rows.items()
        for label, method in methods.items()
    )


def _e5() -> tuple[Variant, ...]:
    """Wrong against right rows and weights; then the period and the warm start."""
    variants = [Variant(FULL, {"method": "full"})]
    for fraction in (0.1, 0.3):
        group, share = f"rows, fraction {fraction:g}", {"fraction": fraction}
        variants += [
            Variant(CRAIG, {**share, "method": "craig"}, group),
            Variant("CRAIG, shuffled rows as published", {**share, "method": "craig", "fault": "shuffled-rows"}, group),
            Variant(RANDOM, {**share, **_method("random")}, group),
        ]
    for label, method in ((CRAIG, "craig"), (GRADMATCH, "gradmatch")):
        batch = {"method": method, "granularity": "batch"}
        variants += [
            Variant(f"{label} by sample", {"method": method}, "granularity"),
            Variant(f"{label} by batch", batch, "granularity"),
            Variant(f"{label} by batch, weights cancel", {**batch, "fault": "cancelled-weights"}, "granularity"),
        ]
    for period in PERIODS:
        variants.append(Variant(f"CRAIG, T = {period}", {"method": "craig", "period": period}, "period T", period))
    for share in WARM_STARTS:
        settings = {"method": "craig", "warm_start": share}
        variants.append(Variant(f"CRAIG, warm start {share:g}", settings, "warm start", share))
    return tuple(variants)


def _e6() -> tuple[Variant, ...]:
    """Variances at the weights that a random run ends with; then strong and cheap attacks at the same seconds."""
    variances = {**_method("random"), "variance_draws": VARIANCE_DRAWS}
    strong, cheap = "strong attack (PGD-5)", "cheap attack (PGD-1), same seconds"
    pace = "cheap attack (PGD-1)"
    one_step = {"method": "craig", "steps": 1, "alpha": 0.125}
    return (
        Variant(FULL, {"method": "full"}),
        Variant("random, with variances", variances, "gradient variance"),
        Variant(strong, {"method": "craig"}, "attack"),
        Variant(pace, one_step, "attack"),
        Variant(cheap, one_step, "attack", same_seconds=SameSeconds(strong, pace)),
    )


def _method(method: str) -> dict[str, Any]:
    """A method; random ones report their gradient error too, from a pass that does not count."""
    return {"method": method, "report_error": method.startswith("random")}


EXPERIMENTS = {
    e.name: e
    for e in (
        Experiment(
            "E1", "Speed against accuracy",
            "Does a coreset beat what costs nothing to run, at the same wall-clock, selection included?",
            50, BASE, _e1(), candidate=CRAIG, controls=(SHORT, SHORT_SECONDS, RANDOM, RANDOM_SECONDS),
        ),
        Experiment(
            "E2", "Objectives and algorithms", "Does the answer depend on the objective?", 25, BASE,
            _grid(OBJECTIVES, {FULL: "full", CRAIG: "craig", GRADMATCH: "gradmatch", RANDOM: "random",
                               SHORT: "full-short"}),
        ),
        Experiment(
            "E3", "Fast adversarial training", "Does a coreset still save time where the attack is one step?", 20, BASE,
            _grid(FAST, {FULL: "full", CRAIG: "craig", RANDOM: "random", SHORT: "full-short"}),
        ),
        Experiment(
            "E5", "What correctness changes",
            "What do shuffled rows and cancelled weights cost, and how much do period and warm start matter?", 25, BASE,
            _e5(),
        ),
        Experiment(
            "E6", "Samplers and attacks",
            "How noisy is each sampler's gradient, and is a strong attack worth its seconds?", 10, BASE, _e6(),
        ),
    )
}  # fmt: skip
