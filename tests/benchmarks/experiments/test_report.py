"""The report of the experiments."""

from dataclasses import replace

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


def test_a_plan_of_epochs_tells_its_seeds_and_counts_samples():
    found = made(g={"craig": ([0.6] * 3, 10.0), "short": ([0.5] * 3, 10.0)})
    config = {"width": 8, "limit": 300, "model": "small", "epochs": 30, "batch_size": 32, "test_steps": 20,
              "test_restarts": 1, "test_limit": 1000}  # fmt: skip
    for record in found.runs:
        record.result |= {"config": config, "samples_visited": 8925, "effective_size": None}
        record.result["test"]["average"] = record.result["test"]["best"]
    planned = replace(found, threshold=0.0, figure=["robust", "average"], plan="abc 2026")
    told = report._measured_how(planned)
    assert "Seeds 0 to 2, the plan as committed in abc 2026" in told
    assert "candidate's lead" in report.table(planned)
    assert "| short | 50.0 ± 0.0 | 50.0 ± 0.0 | 50.0 ± 0.0 | 50.0 ± 0.0 | 8,925 | 10.0 | 0.00 | +10.0 ± 0.0 | 3 |" in (
        report.table(planned)
    )
