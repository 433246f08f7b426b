"""What must hold in an experiment, judged from its results: pass, fail or not measured, with the figures."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.experiments.results import Record, Results, mean, paired, robust, seconds

SPEEDUP = 3.0
POINTS = 1.0
MIN_SEEDS = 3
SAME_SECONDS = 1.1  # a control may cost so much more, since epochs are whole, and still counts as costing the same


@dataclass(frozen=True)
class Verdict:
    """Attributes: the bar and what was found in words; whether it holds (None: it could not be judged)."""

    wanted: str
    found: str
    met: bool | None


def verdicts(results: Results) -> list[Verdict]:
    """The bars of an experiment that names a candidate, one per group and one for the speed-up."""
    if not results.candidate:
        return []
    groups = [g for g in results.groups if results.candidate in results.labels(g)]
    return [*(same_seconds(results, g) for g in groups), as_good_and_faster(results, groups)]


def same_seconds(results: Results, group: str) -> Verdict:
    """At the same wall-clock the candidate is at least as robust as the best control."""
    ours = results.of(results.candidate, group)
    wanted = f"{group}: {results.candidate} at least as robust as the best control at the same seconds"
    rivals = affordable(results, ours, group)
    if not rivals:
        return Verdict(wanted, "not measured", None)
    best = max(rivals, key=lambda label: _level(results.reference(label, group)))
    theirs = results.reference(best, group)
    difference = paired(ours, theirs, robust())
    own, rival, own_s, rival_s = (
        mean(ours, robust()), mean(theirs, robust()), mean(ours, seconds), mean(theirs, seconds)
    )  # fmt: skip
    if difference is None or own is None or rival is None or own_s is None or rival_s is None:
        return Verdict(wanted, "not measured", None)
    found = (
        f"{own:.1f} % in {own_s.mean:.1f} s against {rival:.1f} % in {rival_s.mean:.1f} s of {best}; "
        f"difference by seed {difference:+.1f} points{_significance(difference.mean, difference.half)}"
    )
    enough = difference.count >= MIN_SEEDS
    found += _seeds(difference.count) + _dearer(results, own.mean, rivals, group)
    return Verdict(wanted, found, difference.mean >= 0.0 if enough else None)


def _dearer(results: Results, own: float, rivals: list[str], group: str) -> str:
    """The best control that cost more than counts as the same, where it is better than the candidate."""
    others = {label: results.reference(label, group) for label in results.controls if label not in rivals}
    best = max(others, key=lambda label: _level(others[label]), default=None)
    if best is None or _level(others[best]) <= own:
        return ""
    level, cost = mean(others[best], robust()), mean(others[best], seconds)
    return (
        "" if level is None or cost is None else f"; dearer, not counted: {level:.1f} % in {cost.mean:.1f} s of {best}"
    )


def affordable(results: Results, ours: list[Record], group: str) -> list[str]:
    """Controls with results that cost no more than the candidate."""
    own = mean(ours, seconds)
    if own is None:
        return []
    found = []
    for label in results.controls:
        cost = mean(results.reference(label, group), seconds)
        if cost is not None and cost.mean <= SAME_SECONDS * own.mean:
            found.append(label)
    return found


def as_good_and_faster(results: Results, groups: list[str]) -> Verdict:
    """The candidate comes within a point of full training's best checkpoint at a third of its seconds."""
    wanted = (
        f"{results.candidate} within {POINTS:g} point of the best checkpoint of full training, at least {SPEEDUP:g} "
        "times as fast"
    )
    full = results.reference(results.full, "")
    target, full_s = mean(full, robust()), mean(full, seconds)
    if target is None or full_s is None:
        return Verdict(wanted, "not measured", None)
    found, met, counted = [], False, True
    for group in groups:
        ours = results.of(results.candidate, group)
        gap, own_s = paired(ours, full, robust()), mean(ours, seconds)
        if gap is None or own_s is None:
            continue
        speedup = full_s.mean / own_s.mean
        found.append(f"{group}: {gap:+.1f} points at {speedup:.2f} times the speed{_seeds(gap.count)}")
        counted &= gap.count >= MIN_SEEDS
        met |= gap.mean >= -POINTS and speedup >= SPEEDUP
    if not found:
        return Verdict(wanted, "not measured", None)
    return Verdict(wanted, f"full {target:.1f} % in {full_s.mean:.1f} s; " + "; ".join(found), met if counted else None)


def _level(records: list[Record]) -> float:
    found = mean(records, robust())
    return float("-inf") if found is None else found.mean


def _significance(mean_difference: float, half: float | None) -> str:
    if half is None:
        return ""
    return ", beyond its interval" if abs(mean_difference) > half else ", within its interval of no difference"


def _seeds(count: int) -> str:
    return "" if count >= MIN_SEEDS else f" ({count} of {MIN_SEEDS} seeds)"
