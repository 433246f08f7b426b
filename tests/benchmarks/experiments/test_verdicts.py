"""Verdicts over the best affordable control, and over every control of a plan."""

from dataclasses import replace

from benchmarks.experiments.results import Record, Results
from benchmarks.experiments.verdicts import verdicts
from tests.benchmarks.experiments.tiny import made


def planned(**levels):
    """Results of a plan whose candidate is "ours": balanced accuracy of each seed by label."""
    runs = [
        Record(label, "", None, seed, "done", result={"test": {"average": {"balanced": level}}})
        for label, of_seeds in levels.items() for seed, level in enumerate(of_seeds)
    ]  # fmt: skip
    return Results(
        "E8", "t", "q", "digits", "2026-01-02", 4, 1.0, {}, "ours", [k for k in levels if k not in ("ours", "oracle")],
        "", {}, {}, {}, "c", 1, figure=["balanced", "average"], threshold=2.0, oracle="oracle", runs=runs,
    )  # fmt: skip


def test_verdicts_pass_and_fail_on_the_best_affordable_control():
    ours = {"craig": ([0.69, 0.71, 0.70], 30.0)}
    weak = {"short": ([0.68, 0.68, 0.68], 30.0), "random": ([0.9, 0.9, 0.9], 60.0)}  # random costs twice as much
    strong = {**weak, "random": ([0.71, 0.72, 0.73], 31.0)}
    good, faster = verdicts(made(g=ours | weak))
    assert good.met
    assert "of short; by seed +2.0 ± 2.5 points" in good.found
    assert good.found.endswith("; dearer, not counted: 90.0 ± 0.0 % in 60.0 s of random")
    assert faster.met
    assert "+0.0 ± 2.5 points at 3.33 times the speed" in faster.found
    bad, _ = verdicts(made(g=ours | strong))
    assert bad.met is False
    assert "of random; by seed -2.0 ± 2.5 points" in bad.found
    assert "dearer" not in bad.found


def test_verdicts_need_speed_accuracy_and_seeds():
    assert verdicts(made(g={"craig": ([0.7] * 3, 40.0)}))[-1].met is False
    assert verdicts(made(g={"craig": ([0.68] * 3, 20.0)}))[-1].met is False
    assert verdicts(made(g={"craig": ([0.7] * 2, 20.0), "short": ([0.6] * 2, 20.0)}))[0].met is None
    assert verdicts(made())[0].met is None


def test_a_plan_succeeds_only_over_every_control():
    ours, weak = [0.60, 0.61, 0.62, 0.63], [0.50, 0.52, 0.52, 0.54]
    good = verdicts(planned(ours=ours, weak=weak, weaker=[0.4, 0.42, 0.41, 0.42], oracle=[0.65, 0.66, 0.66, 0.68]))
    assert [v.met for v in good] == [True] * 4
    assert "+9.5 over weak" in good[2].found
    level = verdicts(planned(ours=ours, weak=weak, level=[0.61, 0.60, 0.63, 0.62]))
    assert [v.met for v in level] == [True, False, False]
    small = verdicts(planned(ours=ours, near=[0.591, 0.60, 0.611, 0.62]))
    assert [v.met for v in small] == [True, False]  # beyond doubt, and below two points


def test_a_plan_may_ask_to_come_close():
    close = replace(planned(ours=[0.600, 0.602, 0.598, 0.601], full=[0.603, 0.604, 0.602, 0.606]), threshold=-1.0)
    assert [v.met for v in verdicts(close)] == [True, True]
    assert "at most 1 point below full" in verdicts(close)[0].wanted
    unsure = replace(planned(ours=[0.60, 0.60, 0.60, 0.60], full=[0.58, 0.62, 0.59, 0.63]), threshold=-1.0)
    assert [v.met for v in verdicts(unsure)] == [False, True]
