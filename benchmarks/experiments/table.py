"""The experiments, as a table: E1 to E7. E4 is a figure drawn from the runs of E1.

All share one base, so that the same run in two experiments is made once. The schedule is the published one, at a
quarter of its length on Fashion-MNIST and whole on the small digits data. Sizes are such that Fashion-MNIST takes
about two hours of one core; `minutes` are core-minutes for three seeds on one AVX-512 core of 2.6 GHz, without the runs
that an earlier row has made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.experiments.plan import Experiment, SameSeconds, Variant

BASE: dict[str, Any] = {
    "limit": 3000, "width": 8, "objective": "pgd", "eps": 0.1, "alpha": 0.05, "steps": 5, "epochs": 30, "period": 5,
    "warm_start": 0.5, "fraction": 0.3, "batch_size": 32, "learning_rate": 0.03, "evaluate_last": True,
    "test_limit": 1000, "test_steps": 20, "test_restarts": 1, "validation_limit": 300,
}  # fmt: skip

DIGITS: dict[str, Any] = {"epochs": 120, "period": 20}

FULL = "full"
CRAIG, GRADMATCH = "CRAIG", "GradMatch"
RANDOM, FIXED, SHORT = "random, redrawn", "random, fixed", "shorter schedule"
STRATA, IMPORTANCE = "CRAIG, strata redrawn", "importance sampling"
CHEAPER: dict[str, dict[str, Any]] = {
    "CRAIG, one-step selection attack": {"selection_steps": 1},
    "CRAIG, from a pool of 2 budgets": {"pool": 2.0},
    "CRAIG, gradients of training passes": {"refresh": "train"},
}
SHORT_SECONDS, RANDOM_SECONDS = "shorter schedule, same seconds as CRAIG", "random, same seconds as CRAIG"

ALLOCATED, ONE_STEP = "CRAIG, strong attack on a tenth", "one-step attack alone"
RARELY: dict[str, Any] = {"period": 10, "selection_steps": 1}

FRACTIONS = (0.1, 0.3, 0.5)
PERIODS = (1, 2, 5, 10, 20)
WARM_STARTS = (0.0, 0.2, 0.4, 0.5, 0.6)

OBJECTIVES: dict[str, dict[str, Any]] = {
    "PGD linf": {},
    "PGD l2": {"objective": "pgd-l2", "eps": 1.0, "alpha": 0.5},
    "TRADES": {"objective": "trades", "beta": 6.0},
    "perceptual": {"objective": "perceptual", "steps": 3},
}
FAST: dict[str, dict[str, Any]] = {
    "FGSM-RS": {"objective": "fgsm"},
    "N-FGSM": {"objective": "nfgsm"},
    "FGSM-PGI": {"objective": "fgsm-pgi"},
}


def _e1() -> tuple[Variant, ...]:
    """Full training once; every method at every fraction, and two controls at the seconds that CRAIG took."""
    variants = [Variant(FULL, {"method": "full"})]
    methods = {CRAIG: "craig", GRADMATCH: "gradmatch", STRATA: "craig-strata", IMPORTANCE: "importance",
               RANDOM: "random", FIXED: "random-fixed", SHORT: "full-short"}  # fmt: skip
    for fraction in FRACTIONS:
        group, share = f"fraction {fraction:g}", {"fraction": fraction}
        for label, method in methods.items():
            variants.append(Variant(label, {**share, **_method(method)}, group, fraction))
        for label, settings in CHEAPER.items():
            variants.append(Variant(label, {**share, "method": "craig", **settings}, group, fraction))
        variants += [
            Variant(SHORT_SECONDS, {"method": "full"}, group, fraction, SameSeconds(CRAIG, FULL)),
            Variant(RANDOM_SECONDS, {**share, "method": "random"}, group, fraction, SameSeconds(CRAIG, RANDOM)),
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
    """Every sampler from the same warm start; then a strong attack on a part of the data against one attack for all."""
    samplers = {
        CRAIG: "craig", GRADMATCH: "gradmatch", RANDOM: "random", "random in classes": "random-stratified",
        STRATA: "craig-strata", IMPORTANCE: "importance", "GLISTER": "glister", "soft pruning": "soft-el2n",
    }  # fmt: skip
    variants = [Variant(FULL, {"method": "full"})]
    variants += [Variant(label, _method(method), "samplers") for label, method in samplers.items()]
    allocated, cheap, part = "strong attack for CRAIG's quarter", "cheap attack alone", "attacks"
    split = {"allocate": True, "fraction": 0.25, "warm_start": 0.0}
    one_step = {"method": "full", "objective": "fgsm"}
    variants += [
        Variant(allocated, {**split, "method": "craig"}, part),
        Variant("strong attack for a random quarter", {**split, "method": "random"}, part),
        Variant("strong attack alone, same seconds", {"method": "full"}, part, None, SameSeconds(allocated, FULL)),
        Variant(cheap, one_step, part),
        Variant(f"{cheap}, same seconds", one_step, part, None, SameSeconds(allocated, cheap)),
    ]
    return tuple(variants)


def _e7() -> tuple[Variant, ...]:
    """All the data in every epoch, a third of full training's seconds, and the strong attack where the coreset is."""
    group, random_label = "a third of the seconds", "random, strong attack on a tenth"
    split: dict[str, Any] = {"allocate": True, "warm_start": 0.0}
    return (
        Variant(FULL, {"method": "full"}),
        Variant(ALLOCATED, {**split, "method": "craig", "fraction": 0.1, "epochs": 18, **RARELY}, group),
        Variant("CRAIG, strong attack on a quarter",
                {**split, "method": "craig", "fraction": 0.25, "epochs": 14, **RARELY}, group),
        Variant(random_label, {**split, "method": "random", "fraction": 0.1, "epochs": 18}, group),
        Variant(ONE_STEP, {"method": "full", "objective": "fgsm"}, group),
        Variant(f"{ONE_STEP}, same seconds", {"method": "full", "objective": "fgsm"}, group, None,
                SameSeconds(ALLOCATED, ONE_STEP)),
        Variant("shorter schedule, same seconds", {"method": "full"}, group, None, SameSeconds(ALLOCATED, FULL)),
        Variant(RANDOM, _method("random"), group),
        Variant("random, same seconds", {"method": "random"}, group, None, SameSeconds(ALLOCATED, RANDOM)),
    )  # fmt: skip


def _method(method: str) -> dict[str, Any]:
    """A method; random ones report their gradient error too, from a pass that does not count."""
    return {"method": method, "report_error": method.startswith("random")}


EXPERIMENTS = {
    e.name: replace(e, digits=DIGITS)
    for e in (
        Experiment(
            "E1", "Speed against accuracy",
            "Does a coreset beat what costs nothing to run, at the same wall-clock, selection included?",
            50, BASE, _e1(), candidate=CRAIG, controls=(SHORT, SHORT_SECONDS, RANDOM, RANDOM_SECONDS),
        ),
        Experiment(
            "E2", "Objectives and algorithms", "Does the answer depend on the objective?", 30, BASE,
            _grid(OBJECTIVES, {FULL: "full", CRAIG: "craig", GRADMATCH: "gradmatch", RANDOM: "random",
                               SHORT: "full-short"}),
        ),
        Experiment(
            "E3", "Fast adversarial training", "Does a coreset still save time where the attack is one step?", 10, BASE,
            _grid(FAST, {FULL: "full", CRAIG: "craig", RANDOM: "random", SHORT: "full-short"}),
        ),
        Experiment(
            "E5", "What correctness changes",
            "What do shuffled rows and cancelled weights cost, and how much do period and warm start matter?", 18, BASE,
            _e5(),
        ),
        Experiment(
            "E6", "Samplers and attacks",
            "How noisy is each sampler's gradient, and is a strong attack on a part better than one attack for all?",
            13, BASE, _e6(),
        ),
        Experiment(
            "E7", "All the data, the strong attack on a coreset",
            "Does it pay to let the coreset decide where the attack is strong, and to attack all else in one step?",
            9, BASE, _e7(), candidate=ALLOCATED,
            controls=("shorter schedule, same seconds", RANDOM, "random, same seconds"),
        ),
    )
}  # fmt: skip
