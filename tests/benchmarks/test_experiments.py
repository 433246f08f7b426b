"""The experiments: plans, faults, statistics and verdicts, and a tiny experiment from end to end."""

import json
from dataclasses import replace

import pytest
import torch

from acs_fast import LastLayerGradients, gradient_error
from acs_fast.benchmark import Row, Run
from acs_fast.selection import Craig, PerBatch
from benchmarks.experiments import __main__ as command
from benchmarks.experiments import code_version, report, trial
from benchmarks.experiments import results as files
from benchmarks.experiments.faults import CancelledWeights, ShuffledRows, shuffled_within
from benchmarks.experiments.plan import Experiment, Plan, SameSeconds, Variant
from benchmarks.experiments.results import Record, Results, interval
from benchmarks.experiments.table import EXPERIMENTS
from benchmarks.experiments.verdicts import verdicts

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


def run(folder, *more):
    paths = ["--output", folder / "results", "--scratch", folder / "scratch"]
    return command.main(["E1", "--data", "digits", "--jobs", "1", "--seeds", "1", *map(str, paths), *more])


def test_experiment_from_end_to_end_and_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(command.EXPERIMENTS, "E1", TINY)
    assert run(tmp_path) == 0
    path = tmp_path / "results" / "E1-digits.json"
    found = files.read(path)
    by_label = {r.label: r for r in found.runs}
    assert found.complete
    assert (found.processes, found.threads_per_process, found.data) == (1, 1, "digits")
    assert by_label["none"].state == "not run"
    assert "selector must be one of" in by_label["none"].reason
    for label in ("full", "CRAIG", "wrong", "short"):
        measured = by_label[label].result
        assert {"best", "last", "average"} == measured["test"].keys()
        assert {"attack", "step", "selection", "validation"} <= measured["seconds"].keys()
    spent = {label: files.cost(by_label[label].result) for label in ("full", "CRAIG")}
    wanted = max(1, round(6 * spent["CRAIG"] / spent["full"]))
    assert by_label["short"].result["config"]["epochs"] == wanted
    (text,) = report.sections(path.parent, tmp_path)
    assert "(results/E1-digits.png)" in text
    assert "\n| CRAIG" in text
    assert "none (half): selector must be one of" in text
    assert (tmp_path / "results" / "E1-digits.png").read_bytes()[:4] == b"\x89PNG"
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "scratch").rglob("result.json")}
    assert len(kept) == (3 if wanted == 6 else 4)  # with as many epochs "short" is the run of "full"
    monkeypatch.setitem(command.EXPERIMENTS, "E1", replace(TINY, variants=TINY.variants[:3]))
    assert run(tmp_path) == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "scratch").rglob("result.json")} == kept
    monkeypatch.setattr(command, "code_version", lambda: "another")
    monkeypatch.setitem(command.EXPERIMENTS, "E1", replace(TINY, variants=TINY.variants[:1]))
    assert run(tmp_path) == 0
    assert len(list((tmp_path / "scratch").rglob("result.json"))) == len(kept) + 1
    capsys.readouterr()


def test_no_run_starts_after_the_deadline(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(command.EXPERIMENTS, "E1", TINY)
    assert run(tmp_path, "--minutes", "0") == 0
    content = json.loads((tmp_path / "results" / "E1-digits.json").read_text())
    assert not content["complete"]
    assert all(r["result"] is None for r in content["runs"])
    assert "No run has finished yet" in report.sections(tmp_path / "results", tmp_path)[0]


def test_bad_options_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv(trial.VARIABLE, raising=False)
    assert command.main(["E1", "--data", str(tmp_path / "nothing")]) == 2
    assert command.main(["E1", "--data", "digits", "--jobs", "0"]) == 2
    err = capsys.readouterr().err
    assert "--data must be 'digits' or a folder" in err
    assert "--jobs must be at least 1; got 0" in err


def test_data_comes_from_the_option_then_the_variable(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv(trial.VARIABLE, str(tmp_path / "b"))
    assert trial.source(None) == (str(tmp_path / "b"), "fashion-mnist")
    assert trial.source(str(tmp_path / "a")) == (str(tmp_path / "a"), "fashion-mnist")
    assert trial.source("digits") == ("digits", "digits")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_variant_of_the_table_can_run(name):
    plan = Plan(EXPERIMENTS[name], 1, {"data": "digits"})
    for job in plan.jobs:  # as if every run before had finished in a second
        if plan.ready() is job:
            job.record.state, job.record.result = "done", result(0.5, 1.0)
    assert [(j.variant.name, j.record.reason) for j in plan.jobs if j.record.state != "done"] == []


def test_methods_are_interleaved_and_names_unique():
    for experiment in EXPERIMENTS.values():
        plan = Plan(experiment, 2)
        count = len(experiment.variants)
        first = experiment.first_seed
        assert [j.record.seed for j in plan.jobs] == [first] * count + [first + 1] * count
        assert len({v.name for v in experiment.variants}) == count
        labels = {v.label for v in experiment.variants}
        assert {experiment.candidate, *experiment.controls} - {""} <= labels


def test_digits_train_on_the_whole_published_schedule():
    experiment = EXPERIMENTS["E1"]
    digits, clothes = experiment.on("digits").base, experiment.on("fashion-mnist").base
    assert (digits["epochs"], digits["period"]) == (120, 20)
    assert digits["epochs"] / digits["period"] == clothes["epochs"] / clothes["period"]
    default = {data: EXPERIMENTS["E7"].on(data).variants[1].overrides["epochs"] for data in ("digits", "fashion-mnist")}
    assert default["digits"] / default["fashion-mnist"] == 120 / 30  # of the same length relative to full training


def test_same_seconds_follow_the_measured_cost():
    plan = Plan(replace(TINY, variants=(TINY.variants[0], TINY.variants[1], TINY.variants[3])), 1)
    full, craig, short = plan.jobs
    for job, seconds in ((full, 12.0), (craig, 5.0)):
        assert plan.ready() is job
        job.record.state, job.record.result = "done", result(0.5, seconds)
    assert plan.ready() is short
    assert short.config.epochs == round(6 * 5.0 / 12.0)


def test_a_failed_anchor_is_named():
    plan = Plan(replace(TINY, variants=(TINY.variants[0], TINY.variants[1], TINY.variants[3])), 1)
    plan.ready().record.state = "failed"
    plan.ready().record.state = "running"
    assert plan.ready() is None
    assert plan.jobs[2].record.state == "not run"
    assert "seconds of full" in plan.jobs[2].record.reason


def gradients(n=60, classes=3):
    """Of very different sizes, so that it matters which sample gets which weight."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % classes
    sizes = torch.randn(n, 1, generator=generator).mul(2.0).exp()
    residuals = sizes * torch.randn(n, classes, generator=generator)
    return LastLayerGradients(residuals, torch.randn(n, 5, generator=generator)), y


def test_shuffled_rows_keep_sizes_and_weights_but_not_samples():
    g, y = gradients()
    rows = shuffled_within(y, 7)
    assert torch.equal(rows.sort().values, torch.arange(60))
    assert torch.equal(y[rows], y)
    right = Craig().select(60, 18, g[rows], y, 7)
    wrong = ShuffledRows(Craig()).select(60, 18, g, y, 7)
    assert torch.equal(wrong.indices, right.indices)
    assert torch.equal(wrong.weights, right.weights)
    assert wrong.stats["relative_gradient_error"] == pytest.approx(gradient_error(g, wrong.indices, wrong.weights))
    assert wrong.stats["relative_gradient_error"] > 1.5 * right.stats["relative_gradient_error"]


def test_cancelled_weights_are_equal_and_their_error_is_measured():
    g, y = gradients()
    inner = PerBatch(Craig(), 8)
    right, wrong = (s.select(60, 18, g, y, 7) for s in (inner, CancelledWeights(inner)))
    assert torch.equal(right.indices, wrong.indices)
    assert len(right.weights.unique()) > 1
    assert wrong.weights.unique().tolist() == pytest.approx([60 / len(wrong)])
    error = gradient_error(g, wrong.indices, wrong.weights)
    assert wrong.stats["relative_gradient_error"] == pytest.approx(error)


def test_interval_is_students():
    found = interval([1.0, 2.0, 3.0])
    assert (found.mean, found.count) == (2.0, 3)
    assert found.half == pytest.approx(4.302653 / 3**0.5, abs=1e-5)
    assert interval([5.0]).half is None
    assert f"{found:+.1f}" == "+2.0 ± 2.5"


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


def test_collapse_is_seen_and_missing_figures_stay_empty():
    found = made(g={"craig": ([0.6] * 3, 10.0)})
    for record in found.of("craig", "g"):
        record.result["test"]["last"] = {"clean": 0.8, "robust": 0.1}
    line = "| craig (collapsed: 3 of 3) | 60.0 ± 0.0 | 10.0 ± 0.0 | 60.0 ± 0.0 | 10.0 | 0.00 | 10.00 | 3 |"
    assert line in report.table(found)


def test_code_version_ignores_prose_only(tmp_path):
    texts = ['"""a"""\nx = 1  # b\n', '"""c"""\n\nx = 1\n', "x = 2\n"]
    trees = []
    for text in texts:
        path = tmp_path / "m.py"
        path.write_text(text)
        trees.append(code_version._without_prose(path))
    assert trees[0] == trees[1] != trees[2]


def test_the_published_step_comes_from_its_results_file(tmp_path):
    assert "was not timed" in report._published_step(tmp_path)
    run = Run("cpu", "2026-01-02", False, 1, {}, {}, {}, [{"name": "engine-pgd", "size": "ResNet-18"}])
    for name, seconds in (("published", [2.0, 3.0, 4.0]), ("ours-channels-last", [1.5, 1.5, 9.0])):
        run.rows.append(Row("engine-pgd", name, name, "ours", "ok", seconds=seconds))
    run.write(tmp_path / "one.json")
    assert "takes 0.50 times as long as one of the published loop" in report._published_step(tmp_path)
