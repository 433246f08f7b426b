"""The report of the experiments."""

from acs_fast.benchmark import Row, Run
from benchmarks.experiments import report
from tests.benchmarks.experiments.tiny import made


def test_collapse_is_seen_and_missing_figures_stay_empty():
    found = made(g={"craig": ([0.6] * 3, 10.0)})
    for record in found.of("craig", "g"):
        record.result["test"]["last"] = {"clean": 0.8, "robust": 0.1}
    line = "| craig (collapsed: 3 of 3) | 60.0 ± 0.0 | 10.0 ± 0.0 | 60.0 ± 0.0 | 10.0 | 0.00 | 10.00 | 3 |"
    assert line in report.table(found)


def test_the_published_step_comes_from_its_results_file(tmp_path):
    assert "was not timed" in report._published_step(tmp_path)
    run = Run("cpu", "2026-01-02", False, 1, {}, {}, {}, [{"name": "engine-pgd", "size": "ResNet-18"}])
    for name, seconds in (("published", [2.0, 3.0, 4.0]), ("ours-channels-last", [1.5, 1.5, 9.0])):
        run.rows.append(Row("engine-pgd", name, name, "ours", "ok", seconds=seconds))
    run.write(tmp_path / "one.json")
    assert "takes 0.50 times as long as one of the published loop" in report._published_step(tmp_path)
