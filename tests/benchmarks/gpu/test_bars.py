"""The bars of the GPU: every one has its verdict, or says why not."""

from acs_fast.benchmark import Row
from benchmarks.gpu import bars
from benchmarks.gpu.cases import CASES
from benchmarks.gpu.work import PICKS, PUBLIC
from tests.benchmarks.gpu.results import result

CLEAN = [{"name": name, "status": "ok", "seconds": 1.0} for name in ("tests", "memcheck", "racecheck")]


def test_every_bar_has_its_verdict():
    found = [(v.found, v.met) for v in bars.verdicts(result(), CLEAN)]
    assert found == [
        ("10.00 ms", True), ("600.00 ms", False), ("200.00 ms", True), ("400.00 ms", True),  # of greedy alone
        ("21.0 GiB", True), ("80%", True),
        ("60 times", True), ("33 times", False), ("67 times", True),  # one group by torch, times the groups
        ("0 others", True), ("2 others", False),
        ("tests ok", True), ("memcheck ok, racecheck ok", True),
    ]  # fmt: skip


def test_a_bar_without_a_figure_says_why():
    run = result()
    run.rows = [row for row in run.rows if row.case != "craig-global" and row.opponent != PICKS]
    run.rows[-1] = Row(
        CASES[3].name, PUBLIC, PUBLIC, "ours", "out of memory", reason="OutOfMemoryError: 4 GiB"
    )  # fmt: skip
    found = {v.title: (v.found, v.met) for v in bars.verdicts(run, CLEAN[:2])}
    assert ("not measured", None) in found.values()
    assert ("out of memory: OutOfMemoryError: 4 GiB", None) in found.values()
    assert found["CRAIG, 50,000 in 10 classes, 30 %: picks"] == ("not measured", None)
    assert found["every kernel"] == ("memcheck ok, racecheck not run", None)
    (failed,) = [v for v in bars.verdicts(run, [*CLEAN[:2], {**CLEAN[2], "status": "failed"}]) if "memcheck" in v.found]
    assert failed.met is False
