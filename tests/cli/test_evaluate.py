"""`acs-fast evaluate` end to end, and training's warning of catastrophic overfitting."""

import json
import re
import sys

import numpy as np
import pytest
import torch

from acs_fast.cli.main import main
from acs_fast.evaluation import robustness
from acs_fast.training import run

SMALL = ["--limit", "200", "--width", "2", "--steps", "1", "--epochs", "2", "--period", "1", "--batch-size", "32",
         "--selector", "random", "--test-limit", "60", "--quiet"]  # fmt: skip


def small_data(path, classes=3, shape=(6, 6), channels=1, seed=0):
    """Bright squares at a place for each class: learnt in an epoch or two."""
    rng = np.random.default_rng(seed)
    y = np.arange(150) % classes
    x = 0.3 * rng.random((150, *shape, channels), dtype=np.float32)
    for i, label in enumerate(y):
        x[i, 2 * (label % 3) : 2 * (label % 3) + 2, 2 * (label // 3) :] += 0.7
    np.savez(path, x_train=x[:100], y_train=y[:100], x_test=x[100:], y_test=y[100:])
    return str(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained run of three classes, short evaluation."""
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "FINAL_STEPS", 4)
        patch.setattr(run, "FINAL_RESTARTS", 2)
        data = small_data(root / "squares.npz")
        assert main(["train", *SMALL, "--eps", "0.1", "--data", data, "--output", str(root / "run")]) == 0
    return root / "run"


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    for module, names in ((robustness, ("STEPS", "RESTARTS")), (run, ("FINAL_STEPS", "FINAL_RESTARTS"))):
        monkeypatch.setattr(module, names[0], 4)
        monkeypatch.setattr(module, names[1], 2)


def evaluate(*arguments):
    return main(["evaluate", "--quiet", *map(str, arguments)])


def test_everything_is_reported_and_written(folder, tmp_path, capsys):
    assert evaluate(folder, "--output", tmp_path / "out") == 0
    out = capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    trained = json.loads((folder / "random-seed0" / "result.json").read_text())
    assert result["pgd"] == trained["test"]["best"]["robust"]
    assert result["clean"]["all"] == trained["test"]["best"]["clean"]
    assert result["images"] == {"test": 50, "attacked": 50}
    assert result["checkpoint"].endswith("random-seed0/best.pt")
    assert [p["eps"] for p in result["curve"]] == [i / 4 * 0.1 for i in range(9)]
    robust = [p["robust"] for p in result["curve"]]
    assert robust == sorted(robust, reverse=True)
    assert robust[0] == result["clean"]["attacked"]
    assert robust[4] <= result["pgd"]
    assert set(result["seconds"]) == {"clean", "fgsm", "pgd", "curve", "masking", "autoattack"}
    assert result["versions"]["torch"] == torch.__version__
    assert result["machine"]["device"] == "cpu"
    assert "at least 10 classes; the model has 3" in out
    assert re.search(rf"^PGD-4, 2 restarts +{100 * result['pgd']:.1f} ", out, re.MULTILINE)
    for point in result["curve"]:
        assert re.search(rf"^{point['eps']:.4g} +{100 * point['robust']:.1f}$", out, re.MULTILINE)
    assert (tmp_path / "out" / "evaluation.png").read_bytes()[:4] == b"\x89PNG"


def test_default_output_is_beside_the_checkpoint(folder):
    assert evaluate(folder / "random-seed0" / "best.pt") == 0
    assert (folder / "random-seed0" / "evaluation.json").is_file()


def test_newest_checkpoint_means_its_averaged_weights(folder, tmp_path):
    own = folder / "random-seed0"
    best, newest = (torch.load(own / name, weights_only=True) for name in ("best.pt", "checkpoint.pt"))
    assert evaluate(own / "checkpoint.pt", "--output", tmp_path) == 0
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert result["epoch"] == newest["epoch"]
    if best["epoch"] == newest["epoch"]:
        assert evaluate(own, "--output", tmp_path / "best") == 0
        assert json.loads((tmp_path / "best" / "evaluation.json").read_text())["curve"] == result["curve"]


def test_overrides(folder, tmp_path):
    other = small_data(tmp_path / "other.npz", seed=5)
    assert evaluate(
        folder, "--data", other, "--test-limit", "20", "--norm", "l2", "--eps", "0.5", "--curve", "1", "0.25", "0.5",
        "--no-autoattack", "--device", "cpu", "--output", tmp_path,
    ) == 0  # fmt: skip
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert (result["data"], result["norm"], result["eps"]) == ("other", "l2", 0.5)
    assert result["images"]["attacked"] == 20
    assert [p["eps"] for p in result["curve"]] == [0.25, 0.5, 1.0]
    assert result["autoattack"]["skipped"] == "--no-autoattack was given"


def test_missing_packages_are_named_and_the_rest_runs(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("acs_fast.evaluation.autoattack.LEAST_CLASSES", 3)
    for name in ("matplotlib", "pyautoattack"):
        monkeypatch.setitem(sys.modules, name, None)
    assert evaluate(folder, "--output", tmp_path) == 0
    out = capsys.readouterr().out
    assert "pip install 'acs_fast[eval]'" in out
    assert "pip install 'acs_fast[plot]'" in out
    assert (tmp_path / "evaluation.json").is_file()
    assert not (tmp_path / "evaluation.png").exists()


def fails(capsys, *arguments):
    """The one line that it says."""
    assert evaluate(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("acs-fast evaluate: ")
    return lines[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--eps", "-0.1"], "eps must be finite and in [0, inf); got -0.1"),
        (["--eps", "nan"], "eps must be finite"),
        (["--eps", "8"], "Did you mean 8/255?"),
        (["--norm", "l2"], "--norm l2 needs --eps"),
        (["--curve", "0.1", "-1"], "eps must be finite"),
        (["--test-limit", "0"], "test_limit must be at least 1; got 0"),
        (["--data", "/nowhere"], "--data must be 'digits'"),
        (["--device", "cuda"], "torch sees no CUDA device here"),
    ],
)
def test_bad_options_are_named_and_nothing_is_written(folder, tmp_path, capsys, options, message):
    if options[-1] == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert message in fails(capsys, folder, *options, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_that_does_not_fit_is_named(folder, tmp_path, capsys):
    for options, message in (
        ({"channels": 3}, "the model takes 1 channel(s); got 3"),
        ({"shape": (8, 8)}, "the model was trained on images of 6 x 6 pixels; got 8 x 8"),
        ({"classes": 2}, "the model has 3 classes; got 2"),
        ({"classes": 5}, "the model has 3 classes; got 5"),
    ):
        assert message in fails(capsys, folder, "--data", small_data(tmp_path / "other.npz", **options))
    (tmp_path / "half.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:500])
    assert "half.npz: cannot be read as .npz" in fails(capsys, folder, "--data", tmp_path / "half.npz")


def test_bad_checkpoints_are_named(folder, tmp_path, capsys):
    good = folder / "random-seed0" / "best.pt"
    path = tmp_path / "best.pt"
    assert "there is no checkpoint" in fails(capsys, tmp_path / "none.pt")
    assert "there is no best.pt in it" in fails(capsys, tmp_path)
    whole = good.read_bytes()
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:size])
        assert "cannot be read as a checkpoint" in fails(capsys, path)
    for garbage in (b"not a checkpoint\n", bytes(range(256)) * 4, b"\x80\x02}q\x00.", b"PK\x03\x04" + b"\0" * 60):
        path.write_bytes(garbage)
        fails(capsys, path)

    def changed(**entries):
        torch.save({**torch.load(good, weights_only=True), **entries}, path)
        return fails(capsys, path)

    state = torch.load(good, weights_only=True)
    assert "is no checkpoint of acs-fast train" in (torch.save({"state_dict": {}}, path) or fails(capsys, path))
    assert "its settings are not those" in changed(config={"learning": 1})
    assert "its settings are not those" in changed(config=None)
    assert "its settings are not those" in changed(config={**state["config"], "eps": -1.0})
    assert "holds no weights" in changed(model=3)
    assert "holds no weights" in changed(model={})
    assert "not those of a model of acs-fast train" in changed(model={"w": torch.zeros(3)})
    assert "do not fit its settings" in changed(config={**state["config"], "width": 5})
    assert "NaN or infinity" in changed(model={k: v * torch.nan for k, v in state["model"].items()})


def test_a_folder_of_several_runs_asks_which(tmp_path, capsys):
    for name in ("craig-seed0", "full-seed0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "best.pt").write_bytes(b"")
    assert "holds 2 runs; name one" in fails(capsys, tmp_path)


# ---- catastrophic overfitting during training ----------------------------------------------------------------------


def train_scripted(monkeypatch, caplog, folder, robust, fgsm):
    """A run whose validation finds the accuracies given, epoch by epoch."""
    given = {run.VALIDATION_STEPS: iter(robust), 1: iter(fgsm)}
    original = run.robust_accuracy

    def scripted(model, images, attack, device, restarts=1, show_progress=False):
        if attack.steps in given:
            return next(given[attack.steps])
        return original(model, images, attack, device, restarts, show_progress)

    monkeypatch.setattr(run, "robust_accuracy", scripted)
    options = [*SMALL, "--epochs", str(len(robust)), "--selector", "full", "--output", str(folder), "--limit", "60"]
    assert main(["train", *options]) == 0
    own = folder / "full-seed0"
    log = [json.loads(line) for line in (own / "log.jsonl").read_text().splitlines()]
    warnings = [r.getMessage() for r in caplog.records if "catastrophic" in r.getMessage()]
    return [e["catastrophic_overfitting"] for e in log], json.loads((own / "result.json").read_text()), warnings


def test_catastrophic_overfitting_is_logged_and_warned_of_once(tmp_path, monkeypatch, caplog):
    flags, result, warnings = train_scripted(
        monkeypatch, caplog, tmp_path, robust=[0.2, 0.4, 0.1, 0.0], fgsm=[0.3, 0.5, 0.7, 0.9]
    )
    assert flags == [False, False, True, True]
    assert result["catastrophic_overfitting_epoch"] == 2
    assert result["best_epoch"] == 1
    assert len(warnings) == 1
    assert "epoch 2: validation accuracy is 10.0 % under PGD (best 40.0 %) but 70.0 % under FGSM" in warnings[0]


def test_healthy_training_and_divergence_raise_no_alarm(tmp_path, monkeypatch, caplog):
    flags, result, warnings = train_scripted(
        monkeypatch, caplog, tmp_path, robust=[0.3, 0.4, 0.38, 0.1], fgsm=[0.35, 0.45, 0.43, 0.12]
    )
    assert flags == [False] * 4
    assert result["catastrophic_overfitting_epoch"] is None
    assert warnings == []


def test_plain_training_is_not_checked(tmp_path):
    assert main(["train", *SMALL, "--objective", "vanilla", "--output", str(tmp_path)]) == 0
    log = [json.loads(line) for line in (tmp_path / "random-seed0" / "log.jsonl").read_text().splitlines()]
    assert all(e["validation"].keys() == {"clean", "robust"} and not e["catastrophic_overfitting"] for e in log)
