"""`acs-fast train` end to end, on runs small enough for a test."""

import json
import re

import pytest
import torch

from acs_fast.cli.main import main
from acs_fast.objectives import OBJECTIVES
from acs_fast.training import METHODS, RunConfig, checkpoint
from acs_fast.training.config import CONTROLS
from acs_fast.training.learner import Learner
from acs_fast.training.rates import rate_factor

PGD = ["--objective", "pgd", "--steps", "1", "--selector", "craig", "--fraction", "0.3", "--warm-start", "0.3",
       "--epochs", "6", "--period", "2"]  # fmt: skip
ATTACKED = [*PGD, "--gradients", "attack"]
TRAINED = 101  # of 120 samples, without those of validation


def log_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


def test_one_run_writes_everything(tmp_path, train, capsys):
    assert train(tmp_path / "out", *ATTACKED, "--selector", "gradmatch", "--fraction", "0.5") == 0
    own = tmp_path / "out" / "gradmatch-seed0"
    assert {"log.jsonl", "checkpoint.pt", "best.pt", "result.json"} <= {p.name for p in own.iterdir()}
    log = log_of(own)
    assert [(e["epoch"], e["kind"]) for e in log] == [(0, "full")] * (log[0]["epoch"] == 0) + [
        (e, "coreset") for e in range(1, 6)
    ]
    assert [e["epoch"] for e in log if e["coreset"] is not None] == [1, 3, 5]
    for entry in log:
        assert {"attack", "step", "selection", "validation"} <= entry["seconds"].keys()
        assert {"clean", "fgsm", "robust"} == entry["validation"].keys()
    assert "gradmatch" in capsys.readouterr().out


def test_a_line_for_each_epoch(tmp_path, capsys):
    options = ["--limit", "80", "--width", "2", "--epochs", "3", "--test-limit", "8", "--selector", "full"]
    assert main(["train", *options, "--output", str(tmp_path)]) == 0
    lines = re.findall(r"^epoch +\d/3  full +loss \d+\.\d+  clean .*s$", capsys.readouterr().out, re.MULTILINE)
    assert len(lines) == 3


@pytest.mark.parametrize(("epochs", "told"), [(2, True), (3, False)])
def test_a_run_too_short_for_a_coreset_says_so(tmp_path, train, capsys, epochs, told):
    options = ["--selector", "craig", "--gradients", "training", "--fraction", "0.5", "--epochs", epochs]
    assert train(tmp_path / "out", *PGD, *options) == 0
    assert ("no epoch is left for a coreset of craig: raise --epochs" in capsys.readouterr().out) is told


def test_comparison_table_and_picture(tmp_path, train, capsys):
    assert train(tmp_path / "out", *ATTACKED, "--compare", "--seeds", "2") == 0
    out = capsys.readouterr().out
    for method in CONTROLS:
        assert re.search(rf"^{method} +\d+\.\d ± \d+\.\d +\d+\.\d ± ", out, re.MULTILINE), method
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    rows = {r["method"]: r for r in content["rows"]}
    assert rows["full"]["speedup"] == 1.0
    assert all(rows[m]["gradient_error"] > 0 for m in ("craig", "gradmatch"))
    visited = {r["config"]["method"]: r["samples_visited"] for r in content["runs"]}
    assert visited["craig"] == visited["random"] == visited["random-fixed"]
    assert abs(visited["full-short"] - visited["craig"]) < 32 + 6  # whole mini-batches, and budgets are rounded down
    assert (tmp_path / "out" / "report.png").read_bytes()[:4] == b"\x89PNG"
    assert "break-even: the fraction below which" in out


def test_defaults_are_those_of_the_settings(tmp_path, train):
    assert train(tmp_path, "--epochs", "4") == 0
    result = result_of(tmp_path / "round-robin-seed0")
    given = {"limit", "width", "batch_size", "epochs", "eps", "test_limit", "validation_limit"}
    ran, own = result["config"], RunConfig().as_dict()
    assert {k: v for k, v in ran.items() if k not in given} == {k: v for k, v in own.items() if k not in given}
    assert [e["kind"] for e in log_of(tmp_path / "round-robin-seed0")] == ["selective"] * 4
    assert result["gradient_error"] is None


def test_a_run_can_be_repeated_from_its_settings(tmp_path, train):
    assert train(tmp_path / "one", *PGD, "--lr", "0.05", "--epochs", "3") == 0
    job = str(tmp_path / "one" / "job.json")
    assert main(["train", "--config", job, "--output", str(tmp_path / "two"), "--quiet"]) == 0
    one, two = (result_of(tmp_path / name / "craig-seed0") for name in ("one", "two"))
    assert one["config"] == two["config"]
    assert one["test"] == two["test"]
    assert main(["train", "--config", job, "--lr", "0.02", "--output", str(tmp_path / "three"), "--quiet"]) == 0
    assert result_of(tmp_path / "three" / "craig-seed0")["config"]["learning_rate"] == 0.02


RESUMED = {
    **{name: ["--objective", name] for name in ("trades", "fgsm-pgi", "fgsm-gradalign", "atta")},
    "training passes": ["--gradients", "training", "--steps", "2"],
    "pixels": ["--gradients", "pixels"],
    "selective": ["--train-on", "all", "--steps", "2"],
    "augmented, growing, accumulated": [
        "--augment", "standard", "--eps-warm-up", "0.5", "--accumulate", "2", "--label-smoothing", "0.1",
        "--lr-schedule", "one-cycle",
    ],
}  # fmt: skip


def test_a_shorter_schedule_ends_within_an_epoch_and_with_its_learning_rate(tmp_path, train):
    """5 epochs on 0.3 of the data are 1.5 epochs: 4 mini-batches and 2, of which the cosine is about to end."""
    assert train(tmp_path, *PGD, "--gradients", "attack", "--selector", "full-short", "--accumulate", "1") == 0
    log = log_of(tmp_path / "full-short-seed0")
    assert [e["samples"] for e in log] == [TRAINED, 64]
    last = checkpoint.load(tmp_path / "full-short-seed0" / "checkpoint.pt")
    assert last["batches"] == 6
    assert last["optimizer"]["param_groups"][0]["lr"] == 0.03 * rate_factor("cosine", 5, 6)


VISITED = {"full": [TRAINED] * 6, "craig": [30] * 5, "full-short": [TRAINED, 64]}


@pytest.mark.parametrize("method", VISITED)
def test_only_a_shorter_schedule_ends_within_an_epoch(tmp_path, monkeypatch, train, method):
    """Also where earlier epochs had more mini-batches than planned, in a run that other processes began."""
    original = Learner.train_epoch

    def one_more(self, *arguments):
        self.batches += 1
        return original(self, *arguments)

    monkeypatch.setattr(Learner, "train_epoch", one_more)
    assert train(tmp_path, *ATTACKED, "--selector", method) == 0
    assert [e["samples"] for e in log_of(tmp_path / f"{method}-seed0")] == VISITED[method]


@pytest.mark.parametrize("more", RESUMED.values(), ids=RESUMED)
def test_interrupted_and_resumed_run_ends_with_the_same_bits(tmp_path, monkeypatch, train, capsys, more):
    assert train(tmp_path / "whole", *PGD, *more, "--fraction", "0.4") == 0
    original, calls = Learner._train_group, {"left": 3 if "--accumulate" in more else 7}

    def interrupt(self, *arguments):
        calls["left"] -= 1
        if calls["left"] < 0:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Learner, "_train_group", interrupt)
    assert train(tmp_path / "parts", *PGD, *more, "--fraction", "0.4") == 130
    assert f"acs-fast train --resume {tmp_path / 'parts'}" in capsys.readouterr().err
    monkeypatch.setattr(Learner, "_train_group", original)
    assert main(["train", "--resume", str(tmp_path / "parts"), "--quiet"]) == 0
    one, two = (checkpoint.load(tmp_path / name / "craig-seed0" / "checkpoint.pt") for name in ("whole", "parts"))
    assert all(torch.equal(two["model"][k], v) for k, v in one["model"].items())
    assert all(torch.equal(two["average"]["model"][k], v) for k, v in one["average"]["model"].items())
    logs = [log_of(tmp_path / name / "craig-seed0") for name in ("whole", "parts")]
    assert [(e["epoch"], e["loss"], e["validation"]) for e in logs[0]] == [
        (e["epoch"], e["loss"], e["validation"]) for e in logs[1]
    ]


def test_resuming_a_comparison_runs_only_what_is_missing(tmp_path, train):
    assert train(tmp_path, *ATTACKED, "--compare", "craig", "random", "--epochs", "2") == 0
    kept = (tmp_path / "craig-seed0" / "result.json").stat().st_mtime_ns
    for path in (tmp_path / "random-seed0").iterdir():
        path.unlink()
    assert main(["train", "--resume", str(tmp_path), "--quiet"]) == 0
    assert (tmp_path / "craig-seed0" / "result.json").stat().st_mtime_ns == kept
    assert (tmp_path / "random-seed0" / "result.json").exists()


def test_every_method_runs(tmp_path, train):
    methods = [m for m in METHODS if not m.startswith("full")]
    assert train(tmp_path, *ATTACKED, "--compare", *methods, "--fraction", "0.4", "--epochs", "3") == 0
    for result in json.loads((tmp_path / "report.json").read_text())["runs"]:
        seconds, log = result["seconds"], log_of(tmp_path / f"{result['config']['method']}-seed0")
        if result["config"]["method"] == "selective":  # trains on all data: there is no break-even
            assert {e["kind"] for e in log} == {"selective"}
            continue
        epochs = sum(e["kind"] == "coreset" for e in log)
        per_epoch = TRAINED * seconds["training"] / result["samples_visited"]
        assert result["break_even_fraction"] == pytest.approx(1 - seconds["selection"] / epochs / per_epoch)


def test_output_is_not_overwritten_unasked(tmp_path, train, capsys):
    short = [*ATTACKED, "--epochs", "1", "--selector", "random"]
    assert train(tmp_path / "out", *short) == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert train(tmp_path / "out", *short) == 2
    assert "already holds a run: use --resume" in capsys.readouterr().err
    assert train(tmp_path / "out", *short, "--overwrite", "--fraction", "0") == 2
    assert (tmp_path / "out" / "random-seed0" / "result.json").exists()  # all is checked first
    assert train(tmp_path / "out", *short, "--overwrite", "--selector", "full") == 0
    assert not (tmp_path / "out" / "random-seed0").exists()
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fraction", "0"], "fraction must be finite and in (0, 1]; got 0.0"),
        (["--eps", "-1"], "eps must be finite"),
        (["--eps", "8"], "eps must be in pixels of [0, 1]; got 8. Did you mean 8/255?"),
        (["--steps", "0"], "steps must be at least 1; got 0"),
        (["--data", "/nowhere"], "--data must be 'digits'"),
        (["--model", "vgg"], "--model must be small, resnet18, timm:NAME or module:factory; got 'vgg'"),
        (["--weights", "pretrained"], "--weights pretrained goes with --model timm:NAME"),
        (["--compare", "best"], "--compare takes full, full-short"),
        (["--limit", "-5"], "limit must be at least 1; got -5"),
        (["--width", "0"], "--width must be at least 1"),
        (["--seeds", "0"], "--seeds must be at least 1"),
        (["--backend", "cuda"], "backend 'cuda' is not available"),
        (["--selection-steps", "0"], "selection_steps must be at least 1"),
        (["--objective", "fgsm", "--train-on", "all"], "train_on='all' need an objective with attack steps"),
        (["--objective", "fgsm-gradalign", "--gradients", "training"], "objective must be one whose loss alone"),
        (["--gradients", "training", "--compile"], "gradients='training' watches the model's head"),
        (["--gradients", "training", "--selection-steps", "1"], "attacks nothing while selecting"),
        (["--gradients", "pixels", "--selection-steps", "1"], "gradients='pixels' attacks nothing while selecting"),
        (["--objective", "atta", "--augment", "standard"], "perturbations that 'atta' remembers"),
        (["--objective", "vanilla", "--eps-warm-up", "2"], "eps_warm_up must be finite and in [0, 1]"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--objective", "perceptual", "--bound", "-1"], "bound must be finite"),
        (["--log", "wandb", "--config", "/nowhere.json"], "--config /nowhere.json: cannot be read"),
    ],
)
def test_bad_options_are_named_and_nothing_is_left(tmp_path, train, capsys, options, message):
    if "cuda" in options and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert train(tmp_path / "out", *PGD, *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_resume_takes_no_other_settings(tmp_path, train, failure):
    assert "there is no run to resume" in failure("train", "--resume", tmp_path / "nothing")
    assert train(tmp_path, *PGD, "--epochs", "1") == 0
    assert "leave out --eps" in failure("train", "--resume", tmp_path, "--eps", "0.2", "--quiet")
    (tmp_path / "job.json").write_text('{"a": 1}')
    assert "job.json: was not written by acs-fast train" in failure("train", "--resume", tmp_path)


def test_bad_checkpoints_are_named(tmp_path, train, failure):
    assert train(tmp_path, *PGD, "--epochs", "1") == 0
    path = tmp_path / "craig-seed0" / "checkpoint.pt"
    (tmp_path / "craig-seed0" / "result.json").unlink()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert f"{path}: cannot be read as a checkpoint" in failure("train", "--resume", tmp_path, "--quiet")
    path.write_bytes(whole)
    job = json.loads((tmp_path / "job.json").read_text())
    job["config"]["learning_rate"] = 0.5
    (tmp_path / "job.json").write_text(json.dumps(job))
    said = failure("train", "--resume", tmp_path, "--quiet")
    assert "belongs to another run; these settings differ: learning_rate (0.03 there, 0.5 here)" in said


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_trains(tmp_path, train, objective):
    options = ["--objective", objective, "--epochs", "2", "--period", "1", "--steps", "1"]
    assert train(tmp_path, *options, "--train-on", "coreset", "--granularity", "batch") == 0


def test_resnet_trains(tmp_path, train):
    assert train(tmp_path, *PGD, "--model", "resnet18", "--epochs", "1", "--limit", "60") == 0


def test_best_checkpoint_is_the_most_robust_epoch(tmp_path, train):
    assert train(tmp_path, *PGD, "--selector", "random") == 0
    log, result = log_of(tmp_path / "random-seed0"), result_of(tmp_path / "random-seed0")
    best = max(log, key=lambda e: e["validation"]["robust"])
    assert result["best_epoch"] == best["epoch"]
    assert checkpoint.load(tmp_path / "random-seed0" / "best.pt")["epoch"] == best["epoch"]
