"""What must hold in an experiment, judged from its results: pass, fail or not measured, with the figures."""

from __future__ import annotations

from benchmarks.bars import Verdict
from benchmarks.experiments.results import (
    Record,
    Results,
    accuracy,
    advantage,
    cost,
    holm,
    mean,
    paired,
    robust,
)

SPEEDUP = 3.0
POINTS = 1.0
MIN_SEEDS = 3
LEVEL = 0.05  # of the tests of a plan, together
OF_ORACLE = 0.5  # share of the oracle's gain over the best control
AVERAGED = accuracy("robust", "average")
SAME_SECONDS = 1.1  # a control may cost so much more, since epochs are whole, and still counts as costing the same


def verdicts(results: Results) -> list[Verdict]:
    """The bars of an experiment that names a candidate, one per group and one for the speed-up."""
    if not results.candidate:
        return []
    if results.threshold is not None:
        return [v for group in results.groups if group or len(results.groups) == 1 for v in _planned(results, group)]
    groups = [g for g in results.groups if results.candidate in results.labels(g)]
    return [*(_same_seconds(results, g) for g in groups), _as_good_and_faster(results, groups)]


def _same_seconds(results: Results, group: str) -> Verdict:
    """At the same wall-clock the candidate is at least as robust as the best control."""
    wanted = f"{group}: at least as robust as the best control at the same seconds"
    ours = results.of(results.candidate, group)
    own, spent = mean(ours, robust), mean(ours, cost)
    controls = {c: results.reference(c, group) for c in results.controls if results.reference(c, group)}
    rivals = {c: rs for c, rs in controls.items() if spent and mean(rs, cost).mean <= SAME_SECONDS * spent.mean}
    if own is None or not rivals:
        return Verdict(results.candidate, wanted, "not measured", None)
    best = max(rivals, key=lambda c: _level(rivals[c]))
    difference = paired(ours, rivals[best], robust)
    if difference is None:
        return Verdict(results.candidate, wanted, "not measured", None)
    found = f"{_figures(ours)} against {_figures(rivals[best])} of {best}; by seed {difference:+.1f} points"
    if difference.half is not None:
        beyond = abs(difference.mean) > difference.half
        found += ", beyond its interval" if beyond else ", within its interval of no difference"
    found += _seeds(difference.count)
    if (last := paired(ours, rivals[best], AVERAGED)) is not None:
        found += f"; of the last averaged weights {last:+.1f}"
    dearer = {c: rs for c, rs in controls.items() if c not in rivals and _level(rs) > own.mean}
    if dearer:
        name = max(dearer, key=lambda c: _level(dearer[c]))
        found += f"; dearer, not counted: {_figures(dearer[name])} of {name}"
    return Verdict(results.candidate, wanted, found, difference.mean >= 0.0 if difference.count >= MIN_SEEDS else None)


def _as_good_and_faster(results: Results, groups: list[str]) -> Verdict:
    """The candidate comes within a point of full training's best checkpoint at a third of its seconds."""
    wanted = f"within {POINTS:g} point of full training's best checkpoint, at least {SPEEDUP:g} times as fast"
    full = results.reference(results.full, "")
    found, met, counted = [], False, True
    for group in groups:
        ours = results.of(results.candidate, group)
        gap = paired(ours, full, robust)
        if gap is not None:
            speedup = mean(full, cost).mean / mean(ours, cost).mean
            found.append(f"{group}: {gap:+.1f} points at {speedup:.2f} times the speed{_seeds(gap.count)}")
            counted &= gap.count >= MIN_SEEDS
            met |= gap.mean >= -POINTS and speedup >= SPEEDUP
    if not found:
        return Verdict(results.candidate, wanted, "not measured", None)
    return Verdict(results.candidate, wanted, f"full {_figures(full)}; " + "; ".join(found), met if counted else None)


def _level(records: list[Record]) -> float:
    found = mean(records, robust)
    return float("-inf") if found is None else found.mean


def _figures(records: list[Record]) -> str:
    return f"{mean(records, robust):.1f} % in {mean(records, cost).mean:.1f} s"


def _seeds(count: int) -> str:
    return "" if count >= MIN_SEEDS else f" ({count} of {MIN_SEEDS} seeds)"


def _planned(results: Results, group: str) -> list[Verdict]:
    """The candidate beats every control of the plan, by seed, on the plan's figure; or comes as close as it allows."""
    measure, where = accuracy(*results.figure), f"{group}: " if group else ""
    margin = max(0.0, -results.threshold)
    better = f"at most {margin:g} point below" if margin else "better than"
    ours = results.of(results.candidate, group)
    found = {c: advantage(ours, results.reference(c, group), measure, margin) for c in results.controls}
    found = {c: a for c, a in found.items() if a is not None}
    judged = [
        Verdict(
            results.candidate, f"{where}{better} {control} (p < {LEVEL:g} after Holm)",
            f"{a.mean:+.1f} points, lower 95 % bound {a.low:+.1f}, p {p:.2g}, {a.count} seeds",
            (a.low > -margin and p < LEVEL) if a.count == results.seeds else None,
        )
        for (control, a), p in zip(found.items(), holm([a.p for a in found.values()]), strict=True)
    ]  # fmt: skip
    if not found:
        return [Verdict(results.candidate, f"{where}{better} every control", "not measured", None)]
    least = min(found, key=lambda c: found[c].mean)
    wanted = f"{where}{better if margin else f'at least {results.threshold:g} points better than'} every control"
    whole = len(found) == len(results.controls) and min(a.count for a in found.values()) == results.seeds
    met = found[least].mean >= results.threshold if whole else None
    judged.append(Verdict(results.candidate, wanted, f"{found[least].mean:+.1f} over {least}", met))
    rivals = results.reference(least, group)
    if (most := advantage(results.reference(results.oracle, group), rivals, measure)) is not None:
        part = found[least].mean / most.mean
        wanted = f"{where}at least {OF_ORACLE:.0%} of what {results.oracle} gains over {least}"
        said = f"{part:.0%} of {most.mean:+.1f} points"
        judged.append(Verdict(results.candidate, wanted, said, part >= OF_ORACLE if whole else None))
    return judged
