"""A tiny experiment, and results as experiments leave them."""

from benchmarks.experiments.plan import Experiment, SameSeconds, Variant
from benchmarks.experiments.results import Record, Results

BASE = {
    "limit": 120, "width": 2, "objective": "pgd", "method": "craig", "steps": 1, "alpha": 0.1, "epochs": 6, "period": 2,
    "warm_start": 0.3, "gradients": "attack", "batch_size": 32,
    "evaluate_last": True, "test_limit": 20, "test_steps": 2, "validation_limit": 10,
}  # fmt: skip
TINY = Experiment(
    "E1", "Tiny", "Does it run?", 0.1, BASE,
    (
        Variant("full", {"method": "full"}),
        Variant("CRAIG", {"fraction": 0.5}, "half"),
        Variant("wrong", {"fraction": 0.5, "fault": "shuffled-rows"}, "half"),
        Variant("short", {"method": "full"}, "half", same_seconds=SameSeconds("CRAIG", "full")),
        Variant("none", {"method": "no such method"}, "half"),
    ),
    candidate="CRAIG", controls=("short",),
)  # fmt: skip


def result(robust, seconds, last=None, error=None):
    """A run's result with what the reports read."""
    test = {"best": {"clean": robust, "robust": robust}}
    if last is not None:
        test["last"] = {"clean": robust, "robust": last}
    return {
        "config": {"epochs": 20}, "test": test, "seconds": {"training": seconds, "selection": 0.0},
        "gradient_error": error,
    }  # fmt: skip


def made(**groups):
    """Results of an experiment with full training at 70 % in 100 s; groups give label: (robust of each seed, s)."""
    runs = [Record("full", "", None, s, "done", result=result(0.7, 100.0)) for s in range(3)]
    for group, methods in groups.items():
        for label, (levels, seconds) in methods.items():
            runs += [Record(label, group, None, s, "done", result=result(r, seconds)) for s, r in enumerate(levels)]
    return Results(
        "E1", "t", "q", "digits", "2026-01-02", 3, 1.0, {}, "craig", ["short", "random"], "full", {}, {}, {}, "c", 1,
        runs=runs,
    )  # fmt: skip
