"""The command line end to end, on runs small enough for a test."""

import json
import re

import pytest
import torch

from acs_fast.cli.main import main
from acs_fast.objectives import OBJECTIVES
from acs_fast.training import checkpoint, report, run
from acs_fast.training.comparison import summarise
from acs_fast.training.config import CLASSICS, METHODS, RunConfig
from benchmarks.experiments.table import DEFAULT

SIZE = ["--limit", "120", "--width", "2", "--batch-size", "32", "--epochs", "6", "--period", "2", "--quiet"]
CLASSIC = ["--objective", "pgd", "--steps", "1", "--selector", "craig", "--fraction", "0.3", "--warm-start", "0.3"]
SMALL = [*SIZE, *CLASSIC, "--refresh", "attack"]

TRAINED = 101  # of 120 samples, without those of validation


@pytest.fixture(autouse=True)
def _short_evaluation(monkeypatch):
    monkeypatch.setattr(run, "FINAL_STEPS", 2)
    monkeypatch.setattr(run, "FINAL_RESTARTS", 1)


def train(folder, *more):
    return main(["train", *SMALL, "--output", str(folder), *more])


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_one_run_writes_everything(tmp_path, capsys):
    assert train(tmp_path / "out", "--selector", "gradmatch", "--fraction", "0.5") == 0
    own = tmp_path / "out" / "gradmatch-seed0"
    assert {"log.jsonl", "checkpoint.pt", "best.pt", "result.json"} <= {p.name for p in own.iterdir()}
    log = log_of(own)
    assert [e["epoch"] for e in log] == [1, 2, 3, 4, 5] or [e["epoch"] for e in log] == [0, 1, 2, 3, 4, 5]
    selected = [e["epoch"] for e in log if e["coreset"] is not None]
    assert selected == [1, 3, 5]
    for entry in log:
        assert {"attack", "step", "selection", "validation"} <= entry["seconds"].keys()
        assert {"clean", "fgsm", "robust"} == entry["validation"].keys()
    assert "gradmatch" in capsys.readouterr().out


def test_comparison_table_and_picture(tmp_path, capsys):
    assert train(tmp_path / "out", "--compare", "--seeds", "2") == 0
    out = capsys.readouterr().out
    for method in CLASSICS:
        assert re.search(rf"^{method} +\d+\.\d ± \d+\.\d +\d+\.\d ± ", out, re.MULTILINE), method
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    rows = {r["method"]: r for r in content["rows"]}
    assert rows["full"]["speedup"] == 1.0
    assert all(rows[m]["gradient_error"] > 0 for m in ("craig", "gradmatch", "random", "random-fixed"))
    visited = {r["config"]["method"]: r["samples_visited"] for r in content["runs"]}
    assert visited["craig"] == visited["random"] == visited["random-fixed"]
    assert abs(visited["full-short"] - visited["craig"]) <= 0.5 * visited["full"] / 6 + 6  # budgets are rounded down
    assert (tmp_path / "out" / "report.png").read_bytes()[:4] == b"\x89PNG"


def test_defaults_are_the_configuration_of_the_experiments(tmp_path):
    """The command line, the settings of a run and the table of experiments say the same."""
    assert main(["train", *SIZE, "--output", str(tmp_path)]) == 0
    result = json.loads(next(tmp_path.glob("craig-strata-seed0/result.json")).read_text())
    ran, own = result["config"], RunConfig().as_dict()
    given = {"limit", "width", "batch_size", "epochs", "period", "eps", "alpha"}
    assert {k: v for k, v in ran.items() if k not in given} == {k: v for k, v in own.items() if k not in given}
    resolved = {k: RunConfig().selection[k] for k in ("refresh", "allocate")}
    assert {k: {**own, **resolved}[k] for k in DEFAULT} == DEFAULT
    assert result["gradient_error"] > 0
    assert result["seconds"]["selection"] < result["seconds"]["attack"]


@pytest.mark.parametrize(
    ("settings", "refresh"),
    [
        ({}, "train"),
        ({"compile": True}, "attack"),
        ({"objective": "pgd", "selection_steps": 1}, "attack"),
        ({"objective": "pgd", "warm_perturbations": True}, "attack"),
        ({"objective": "fgsm-gradalign"}, "attack"),
        ({"method": "soft-input"}, "attack"),
        ({"method": "craig", "granularity": "batch"}, "train"),
        ({"refresh": "attack"}, "attack"),
    ],
)
def test_selections_come_from_training_passes_where_they_can(settings, refresh):
    assert RunConfig(**settings).selection["refresh"] == refresh


def test_a_shorter_schedule_costs_as_many_passes_as_an_allocated_one():
    """20 epochs with PGD-9, 10 of them for a quarter: 12.5 times the data at 10 passes, 7.5 times at 2."""
    config = RunConfig(objective="pgd", steps=9, allocate=True, epochs=20, warm_start=0.5, fraction=0.25)
    assert config.schedule.kinds == ("full",) * 10 + ("coreset",) * 10
    assert config.short_epochs == round(12.5 + 7.5 * 0.2)
    rests = RunConfig(objective="atta", allocate=True, epochs=20, warm_start=0.5, fraction=0.2)
    assert rests.short_epochs == round(12 + 8 * 0.5)  # with ATTA two passes against one


@pytest.mark.parametrize("stop", [0, 1, 4])
@pytest.mark.parametrize(
    "more",
    [
        *(["--objective", name] for name in ("pgd", "trades", "fgsm-pgi", "fgsm-gradalign", "atta")),
        ["--refresh", "train", "--steps", "2"],
        ["--allocate", "--steps", "2", "--refresh", "train"],
        ["--allocate", "--steps", "2", "--selection-steps", "1", "--warm-perturbations", "--pool", "2"],
    ],
)
def test_interrupted_and_resumed_run_ends_with_the_same_bits(tmp_path, monkeypatch, capsys, stop, more):
    options = [*more, "--fraction", "0.4"]
    assert train(tmp_path / "whole", *options) == 0
    original = run.Run._train_batch
    calls = {"left": stop * 2 + 1}  # in the middle of an epoch

    def interrupt(self, *arguments):
        calls["left"] -= 1
        if calls["left"] < 0:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(run.Run, "_train_batch", interrupt)
    assert train(tmp_path / "parts", *options) == 130
    assert f"acs-fast train --resume {tmp_path / 'parts'}" in capsys.readouterr().err
    monkeypatch.setattr(run.Run, "_train_batch", original)
    assert main(["train", "--resume", str(tmp_path / "parts"), "--quiet"]) == 0
    one, two = (checkpoint.load(tmp_path / name / "craig-seed0" / "checkpoint.pt") for name in ("whole", "parts"))
    for part in ("model", "average"):
        assert all(torch.equal(two[part][k], v) for k, v in one[part].items())
    logs = [log_of(tmp_path / name / "craig-seed0") for name in ("whole", "parts")]
    assert [(e["epoch"], e["loss"], e["validation"]) for e in logs[0]] == [
        (e["epoch"], e["loss"], e["validation"]) for e in logs[1]
    ]


def test_resuming_a_comparison_runs_only_what_is_missing(tmp_path, capsys):
    assert train(tmp_path, "--compare", "craig", "random") == 0
    kept = (tmp_path / "craig-seed0" / "result.json").stat().st_mtime_ns
    for path in (tmp_path / "random-seed0").iterdir():
        path.unlink()
    assert main(["train", "--resume", str(tmp_path), "--quiet"]) == 0
    assert (tmp_path / "craig-seed0" / "result.json").stat().st_mtime_ns == kept
    assert (tmp_path / "random-seed0" / "result.json").exists()


def test_every_method_runs_and_reports_its_break_even_fraction(tmp_path, capsys):
    methods = [m for m in METHODS if not m.startswith("full")]
    assert train(tmp_path, "--compare", *methods, "--fraction", "0.4", "--epochs", "4") == 0
    content = json.loads((tmp_path / "report.json").read_text())
    for result in content["runs"]:
        name, seconds = result["config"]["method"], result["seconds"]
        log = log_of(tmp_path / f"{name}-seed0")
        epochs = sum(e["kind"] == "coreset" for e in log)
        per_epoch = TRAINED * seconds["training"] / result["samples_visited"]
        assert result["break_even_fraction"] == pytest.approx(1 - seconds["selection"] / epochs / per_epoch)
        assert result["gradient_variance"] > 0
    assert "break-even: the fraction below which" in capsys.readouterr().out


def test_a_refresh_epoch_counts_as_the_samples_that_it_visits(tmp_path):
    assert train(tmp_path, "--refresh", "train", "--fraction", "0.5", "--epochs", "8", "--period", "1") == 0
    log = log_of(tmp_path / "craig-seed0")
    visited = {"full": TRAINED, "refresh": TRAINED, "coreset": TRAINED // 2}
    assert [e["samples"] for e in log] == [visited[e["kind"]] for e in log]
    assert "refresh" in {e["kind"] for e in log}
    result = json.loads((tmp_path / "craig-seed0" / "result.json").read_text())
    assert result["samples_visited"] == sum(e["samples"] for e in log)


def test_output_is_not_overwritten_unasked(tmp_path, capsys):
    assert train(tmp_path / "out") == 0
    assert train(tmp_path / "out") == 2
    assert "already holds a run: use --resume" in capsys.readouterr().err
    assert train(tmp_path / "out", "--overwrite") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fraction", "0"], "fraction must be finite and in (0, 1]; got 0.0"),
        (["--eps", "-1"], "eps must be finite"),
        (["--eps", "8"], "eps must be in pixels of [0, 1]; got 8. Did you mean 8/255?"),
        (["--steps", "0"], "steps must be at least 1; got 0"),
        (["--data", "/nowhere"], "--data must be 'digits'"),
        (["--compare", "best"], "--compare takes full, full-short"),
        (["--limit", "-5"], "limit must be at least 1; got -5"),
        (["--width", "0"], "--width must be at least 1"),
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--backend", "cuda"], "backend 'cuda' is not available"),
        (["--selection-steps", "0"], "selection_steps must be at least 1"),
        (["--objective", "fgsm", "--allocate"], "selection_steps and allocate need an objective with attack steps"),
        (["--pool", "0.5"], "pool must be finite and in [1, inf)"),
        (["--refresh", "train", "--compile"], "refresh='train' watches the model's head"),
        (["--selector", "importance", "--granularity", "batch"], "granularity must be one of 'class', 'global'"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--objective", "perceptual", "--bound", "-1"], "bound must be finite"),
    ],
)
def test_bad_options_are_named_and_nothing_is_left(tmp_path, capsys, options, message):
    assert train(tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fraction", "0"], "fraction must be finite"),
        (
            ["--compare", "random", "soft-loss", "--warm-start", "0.95", "--epochs", "20"],
            "warm_start and cool_down must leave room",
        ),
        (["--fraction", "0.01"], "at least one sample for each of the 10 classes"),
        (["--refresh", "train", "--selection-steps", "1"], "a selection attacks nothing"),
        (["--refresh", "train", "--selector", "low-input"], "needs gradients at the input"),
    ],
)
def test_overwriting_checks_first(tmp_path, capsys, options, message):
    assert train(tmp_path) == 0
    assert train(tmp_path, "--overwrite", *options) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "craig-seed0" / "result.json").exists()


def test_overwriting_spares_other_files(tmp_path):
    assert train(tmp_path) == 0
    (tmp_path / "notes.txt").write_text("mine")
    assert train(tmp_path, "--overwrite", "--selector", "random") == 0
    assert not (tmp_path / "craig-seed0").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_resume_takes_no_other_settings(tmp_path, capsys):
    assert train(tmp_path) == 0
    assert main(["train", "--resume", str(tmp_path), "--eps", "0.2", "--quiet"]) == 2
    assert "leave out --eps" in capsys.readouterr().err
    (tmp_path / "job.json").write_text('{"a": 1}')
    assert main(["train", "--resume", str(tmp_path)]) == 2
    assert "job.json: was not written by acs-fast train" in capsys.readouterr().err


def test_bad_checkpoints_are_named(tmp_path, capsys):
    assert main(["train", "--resume", str(tmp_path / "nothing")]) == 2
    assert "there is no run to resume" in capsys.readouterr().err
    assert train(tmp_path) == 0
    path = tmp_path / "craig-seed0" / "checkpoint.pt"
    (tmp_path / "craig-seed0" / "result.json").unlink()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert main(["train", "--resume", str(tmp_path), "--quiet"]) == 2
    assert f"{path}: cannot be read as a checkpoint" in capsys.readouterr().err
    for other in ({"weights": torch.zeros(1)}, {"model": {}, "config": [], "epoch": 1}, [torch.zeros(1)]):
        torch.save(other, path)
        assert main(["train", "--resume", str(tmp_path), "--quiet"]) == 2
        assert "is no checkpoint of acs-fast train" in capsys.readouterr().err
    path.write_bytes(whole)
    job = json.loads((tmp_path / "job.json").read_text())
    job["config"]["learning_rate"] = 0.5
    (tmp_path / "job.json").write_text(json.dumps(job))
    assert main(["train", "--resume", str(tmp_path), "--quiet"]) == 2
    assert (
        "belongs to another run; these settings differ: learning_rate (0.1 there, 0.5 here)" in capsys.readouterr().err
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("granularity", ["batch", "global"])
def test_every_objective_trains(tmp_path, objective, granularity):
    assert train(tmp_path, "--objective", objective, "--granularity", granularity, "--epochs", "2") == 0


def test_resnet_trains(tmp_path):
    assert train(tmp_path, "--model", "resnet18", "--epochs", "1", "--limit", "60") == 0


def test_best_checkpoint_is_the_most_robust_epoch(tmp_path):
    assert train(tmp_path, "--selector", "random") == 0
    log = log_of(tmp_path / "random-seed0")
    best = max(log, key=lambda e: e["validation"]["robust"])
    result = json.loads((tmp_path / "random-seed0" / "result.json").read_text())
    assert result["best_epoch"] == best["epoch"]


def test_doctor(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^  reference +ready", out, re.MULTILINE)
    assert torch.__version__ in out


def test_short_schedule_costs_the_same():
    config = RunConfig(objective="pgd", epochs=30, fraction=0.3, warm_start=0.3)
    assert config.short_epochs == round(0.3 * 30)
    assert config.with_method("full-short", 1).selection["epochs"] == 9


def test_summary_uses_every_seed():
    def result(method, seed, clean, robust, seconds):
        return {
            "config": {"method": method, "seed": seed}, "test": {"best": {"clean": clean, "robust": robust}},
            "seconds": {"training": seconds, "selection": 1.0}, "gradient_error": None, "filled": 0, "backend": None,
        }  # fmt: skip

    rows = summarise([result("full", 0, 0.9, 0.5, 9.0), result("craig", 0, 0.8, 0.4, 1.0),
                      result("full", 1, 0.7, 0.3, 19.0), result("craig", 1, 0.8, 0.4, 2.0)])  # fmt: skip
    assert [r.method for r in rows] == ["full", "craig"]
    assert rows[0].clean == pytest.approx((80.0, 14.142), abs=1e-3)
    assert rows[1].speedup == pytest.approx(15.0 / 2.5)
    assert report.table(rows).splitlines()[2].startswith("full ")


def test_comparisons_hold_the_selector_and_the_controls():
    assert set(METHODS) >= set(CLASSICS)
    assert RunConfig().comparison == ["full", "full-short", "craig-strata", *CLASSICS[2:]]
    assert RunConfig(method="craig").comparison == list(CLASSICS)
