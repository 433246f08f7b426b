"""The bars of the GPU path, judged by what `make gpu` has written and by nothing else."""

from __future__ import annotations

from typing import Any

from acs_fast.benchmark import Row, Run
from benchmarks.bars import Verdict
from benchmarks.gpu.work import PICKS, PLAIN, PUBLIC, TORCH

MOST_GIB = {"craig-imagenet": 40.0}
SHARE_OF_PLAIN = {"craig-imagenet": 0.6}
TIMES_TORCH = 50.0
SANITIZERS = ("memcheck", "racecheck")
TITLES = {
    "craig-cifar10": "CRAIG, 50,000 in 10 classes, 30 %",
    "craig-imagenet": "CRAIG, ImageNet-1k's size per class in bf16, 30 %",
    "craig-global": "CRAIG, one problem of 50,000, 30 %",
    "gradmatch-cifar10": "GradMatch, 50,000 in 10 classes, 30 %",
}


def verdicts(run: Run, steps: list[dict[str, Any]]) -> list[Verdict]:
    """One for each bar, also for those that nothing was measured for; `steps` are the outcomes of the campaign."""
    judged = [_time(run, case) for case in run.cases]
    judged += [_memory(run, name, most) for name, most in MOST_GIB.items()]
    judged += [_of_plain(run, name, least) for name, least in SHARE_OF_PLAIN.items()]
    judged += [_over_torch(run, case) for case in run.cases if case["algorithm"] == "craig"]
    status = {step["name"]: step["status"] for step in steps}
    tested = _step("greedy and matching, small cases", "pass their tests on the GPU", status, ("tests",))
    clean = _step("every kernel", "clean under compute-sanitizer", status, SANITIZERS)
    return [*judged, *_picks(run), tested, clean]


def _row(run: Run, case: str, stage: str) -> Row | str:
    """The row, or why there is no figure."""
    row = next((row for row in run.of_case(case) if row.opponent == stage), None)
    if row is None:
        return "not measured"
    return row if row.ok else f"{row.status}: {row.reason}"


def _time(run: Run, case: dict[str, Any]) -> Verdict:
    stage, most = case["judged"], case["bar_seconds"]
    title = f"{TITLES[case['name']]} ({'public call' if stage == PUBLIC else f'{stage}, after the distances'})"
    row = _row(run, case["name"], stage)
    if isinstance(row, str):
        return Verdict(title, f"at most {1e3 * most:g} ms", row, None)
    return Verdict(title, f"at most {1e3 * most:g} ms", f"{1e3 * row.median:.2f} ms", row.median <= most)


def _memory(run: Run, name: str, most: float) -> Verdict:
    title, wanted = f"{TITLES[name]}: memory", f"at most {most:g} GiB with the inputs"
    row = _row(run, name, PUBLIC)
    if isinstance(row, str) or row.peak_bytes is None:
        return Verdict(title, wanted, row if isinstance(row, str) else "not measured", None)
    gib = row.peak_bytes / 2**30
    return Verdict(title, wanted, f"{gib:.1f} GiB", gib <= most)


def _of_plain(run: Run, name: str, least: float) -> Verdict:
    title, wanted = f"{TITLES[name]}: distances", f"at least {least:.0%} of plain products of the same shapes"
    ours, plain = _row(run, name, "distances"), _row(run, name, PLAIN)
    if isinstance(ours, str) or isinstance(plain, str):
        return Verdict(title, wanted, next(x for x in (ours, plain) if isinstance(x, str)), None)
    share = plain.median / ours.median  # the rate: what a plain product takes over what they take
    return Verdict(title, wanted, f"{share:.0%}", share >= least)


def _over_torch(run: Run, case: dict[str, Any]) -> Verdict:
    """One group by torch, times the groups, over the public call."""
    title, wanted = f"{TITLES[case['name']]}: over torch operators", f"at least {TIMES_TORCH:g} times as fast"
    ours, one = _row(run, case["name"], PUBLIC), _row(run, case["name"], TORCH)
    if isinstance(ours, str) or isinstance(one, str):
        return Verdict(title, wanted, next(x for x in (ours, one) if isinstance(x, str)), None)
    times = one.median * case["groups"] / ours.median
    return Verdict(title, wanted, f"{times:.0f} times", times >= TIMES_TORCH)


def _picks(run: Run) -> list[Verdict]:
    wanted = {
        "other_than_cpu": "those of the CPU on the same distances",
        "other_in_repeats": "the same over 20 repeats",
    }
    row = next((row for row in run.rows if row.opponent == PICKS), None)
    if row is None or not row.ok:
        why = "not measured" if row is None else f"{row.status}: {row.reason}"
        return [Verdict("picks", words, why, None) for words in wanted.values()]
    title = f"picks of {TITLES[row.case]}"
    found = [(words, row.quality[name]) for name, words in wanted.items()]
    return [Verdict(title, words, f"{others:.0f} others", others == 0.0) for words, others in found]


def _step(title: str, wanted: str, status: dict[str, str], names: tuple[str, ...]) -> Verdict:
    """Whether the steps of these names ended well; open where one did not come to its end."""
    ended = {name: status.get(name, "not run") for name in names}
    found = ", ".join(f"{name} {how}" for name, how in ended.items())
    if not set(ended.values()) <= {"ok", "failed"}:
        return Verdict(title, wanted, found, None)
    return Verdict(title, wanted, found, set(ended.values()) == {"ok"})
