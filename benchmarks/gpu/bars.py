"""The bars of the GPU path, judged by what `make gpu` has written and by nothing else."""

from __future__ import annotations

from typing import Any

from acs_fast.benchmark import Row, Run
from benchmarks import bars
from benchmarks.bars import Bar, Described, Figure, Measure, Verdict
from benchmarks.gpu.cases import CASES
from benchmarks.gpu.work import DISTANCES, PICKS, PLAIN, PUBLIC, REPEATS, TORCH

SANITIZERS = ("memcheck", "racecheck")


def _of_plain(case: Described, ours: Row, plain: Row) -> tuple[float, str]:
    share = plain.median / ours.median  # the rate: what a plain product takes over what they take
    return share, f"{share:.0%}"


def _over_torch(case: Described, ours: Row, one: Row) -> tuple[float, str]:
    times = one.median * case["groups"] / ours.median
    return times, f"{times:.0f} times"


def _others(name: str) -> Figure:
    return lambda case, ours, _: (ours.quality[name], f"{ours.quality[name]:.0f} others")


MEASURES = {
    "ms": Measure(
        "at most {threshold:g} ms", lambda case, ours, _: (1e3 * ours.median, f"{1e3 * ours.median:.2f} ms"),
        at_most=True, alone=True,
    ),
    "gib": Measure("at most {threshold:g} GiB with the inputs", bars.gib("{:.1f} GiB"), at_most=True, alone=True),
    "products": Measure("at least {threshold:.0%} of plain products of the same shapes", _of_plain),
    "torch": Measure("at least {threshold:g} times as fast", _over_torch),
    "cpu picks": Measure(
        "those of the CPU on the same distances", _others("other_than_cpu"), at_most=True, alone=True
    ),
    "repeats": Measure(f"the same over {REPEATS} repeats", _others("other_in_repeats"), at_most=True, alone=True),
}  # fmt: skip
STAGES = {PUBLIC: " (public call)", "greedy": " (greedy, after the distances)"}
BARS = (
    *(Bar(c.name, "ms", 1e3 * c.bar_seconds, c.judged, about=STAGES[c.judged]) for c in CASES),
    Bar("craig-imagenet", "gib", 40.0, PUBLIC, about=": memory"),
    Bar("craig-imagenet", "products", 0.6, DISTANCES, PLAIN, ": distances"),
    *(Bar(c.name, "torch", 50.0, PUBLIC, TORCH, ": over torch operators") for c in CASES if c.algorithm == "craig"),
    Bar("craig-cifar10", "cpu picks", 0.0, PICKS, about=": picks"),
    Bar("craig-cifar10", "repeats", 0.0, PICKS, about=": picks"),
)


def verdicts(run: Run, steps: list[dict[str, Any]]) -> list[Verdict]:
    """One for each bar of the run's cases, and two for the steps, which are the outcomes of the campaign."""
    status = {step["name"]: step["status"] for step in steps}
    tested = _step("greedy and matching, small cases", "pass their tests on the GPU", status, ("tests",))
    clean = _step("every kernel", "clean under compute-sanitizer", status, SANITIZERS)
    return [*bars.verdicts(run, BARS, MEASURES), tested, clean]


def _step(title: str, wanted: str, status: dict[str, str], names: tuple[str, ...]) -> Verdict:
    """Whether the steps of these names ended well; open where one did not come to its end."""
    ended = {name: status.get(name, "not run") for name in names}
    found = ", ".join(f"{name} {how}" for name, how in ended.items())
    if not set(ended.values()) <= {"ok", "failed"}:
        return Verdict(title, wanted, found, None)
    return Verdict(title, wanted, found, set(ended.values()) == {"ok"})
