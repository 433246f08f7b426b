"""`acs-fast evaluate` end to end."""

import json
import re
import sys

import numpy as np
import pytest
import torch

from acs_fast.cli.main import main
from acs_fast.training import build

SHORT = ["--steps", "2", "--restarts", "1", "--quiet"]


def evaluate(*arguments):
    return main(["evaluate", *SHORT, *map(str, arguments)])


def test_everything_is_reported_and_written(folder, tmp_path, capsys):
    assert evaluate(folder, "--output", tmp_path / "out") == 0
    out = capsys.readouterr().out
    result = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    trained = json.loads((folder / "random-seed0" / "result.json").read_text())
    assert result["pgd"] == trained["test"]["best"]["robust"]
    assert result["clean"] == trained["test"]["best"]["clean"]
    assert result["images"] == {"test": 50, "attacked": 40}
    assert result["checkpoint"].endswith("random-seed0/best.pt")
    assert [p["eps"] for p in result["curve"]] == [i / 4 * 0.1 for i in range(9)]
    robust = [p["robust"] for p in result["curve"]]
    assert robust == sorted(robust, reverse=True)
    assert set(result["classes"]["clean"]["each"]) == {"0", "1", "2"}
    assert set(result["seconds"]) == {"clean", "fgsm", "pgd", "curve", "masking", "autoattack"}
    assert result["versions"]["torch"] == torch.__version__
    assert "at least 4 classes; the model has 3" in out
    assert "clean of all images, robust of those attacked" in out
    assert re.search(rf"^PGD-2, 1 restarts +{100 * result['pgd']:.1f} ", out, re.MULTILINE)
    assert (tmp_path / "out" / "evaluation.png").read_bytes()[:4] == b"\x89PNG"


def test_default_output_is_beside_the_checkpoint(folder):
    assert evaluate(folder / "random-seed0" / "best.pt") == 0
    assert (folder / "random-seed0" / "evaluation.json").is_file()


def test_overrides(folder, tmp_path, squares):
    assert evaluate(
        folder, "--data", squares("other.npz", seed=5), "--test-limit", "20", "--norm", "l2", "--eps", "0.5",
        "--curve", "1", "0.25", "0.5", "--no-autoattack", "--device", "cpu", "--output", tmp_path,
    ) == 0  # fmt: skip
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert (result["data"], result["norm"], result["eps"]) == ("other", "l2", 0.5)
    assert result["images"]["attacked"] == 20
    assert [p["eps"] for p in result["curve"]] == [0.25, 0.5, 1.0]
    assert result["autoattack"]["skipped"] == "not asked for"


@pytest.mark.parametrize("name", ["kinds.npy", "kinds.txt"])
def test_groups_of_the_test_images(name, folder, tmp_path, capsys):
    kinds = np.arange(50) % 2
    np.save(tmp_path / name, kinds) if name.endswith("npy") else np.savetxt(tmp_path / name, kinds, "%d")
    options = ["--test-limit", "50", "--no-autoattack", "--curve", "0.1"]
    assert evaluate(folder, "--groups", tmp_path / name, *options, "--output", tmp_path) == 0
    result = json.loads((tmp_path / "evaluation.json").read_text())
    each = result["groups"]["robust"]["each"]
    assert set(each) == {"0", "1"}
    assert result["groups"]["robust"]["worst"] == min(each.values())
    assert sum(each.values()) / 2 == pytest.approx(result["robust"])  # both have 25 images
    assert re.search(r"^groups +clean % +robust %", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("content", ["1 2 3\n", "one\ntwo\n", "0.5\n" * 50, ""])
def test_groups_that_are_none(content, folder, tmp_path, capsys):
    (tmp_path / "kinds.txt").write_text(content)
    assert evaluate(folder, "--groups", tmp_path / "kinds.txt", "--output", tmp_path) == 2
    assert "--groups" in capsys.readouterr().err
    assert not (tmp_path / "evaluation.json").exists()


def test_classes_are_called_by_the_names_of_their_folders(tmp_path, capsys):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for label, name in enumerate(("pullover", "ankle boot", "dress")):
        for split in ("train", "test"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(4):
                image.new("L", (6, 6), 60 * label + i).save(folder / f"{i}.png")
    options = ["--width", "2", "--data", tmp_path, "--eps", "0.1", "--no-autoattack", "--output", tmp_path / "out"]
    assert evaluate("--model", "small", *options) == 0
    rows = capsys.readouterr().out.splitlines()
    table = rows.index(next(row for row in rows if row.startswith("classes"))) + 2  # and a rule
    assert not any("robust of those attacked" in row for row in rows)  # for these are all
    assert [row.split("  ")[0] for row in rows[table : table + 4]] == ["ankle boot", "dress", "pullover", "worst"]
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert written["class_names"] == ["ankle boot", "dress", "pullover"]


def test_a_model_that_others_trained(tmp_path, squares, failure):
    torch.manual_seed(0)
    data = squares()
    model = build("small", (torch.zeros(1), torch.ones(1)), 3, 2)
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "w.pt")
    own = ["--model", "small", "--width", "2", "--weights", tmp_path / "w.pt"]
    assert evaluate(*own, "--data", data, "--eps", "0.1", "--output", tmp_path) == 0
    assert json.loads((tmp_path / "evaluation.json").read_text())["model"] == "small"
    assert "--model needs --eps" in failure("evaluate", *own, "--data", data)
    assert "--model needs --data" in failure("evaluate", *own, "--eps", "0.1")
    assert "its weights do not fit the model" in failure(
        "evaluate", *own[:2], "--weights", tmp_path / "w.pt", "--data", data, "--eps", "0.1"
    )
    assert "name a run (CHECKPOINT), or a model" in failure("evaluate", "--eps", "0.1")


def test_missing_packages_are_named_and_the_rest_runs(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("acs_fast.evaluation.autoattack.LEAST_CLASSES", 3)
    for name in ("matplotlib", "pyautoattack"):
        monkeypatch.setitem(sys.modules, name, None)
    assert evaluate(folder, "--output", tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert "pip install 'acs_fast[eval]'" in out
    assert "pip install 'acs_fast[plot]'" in out
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["evaluation.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--eps", "-0.1"], "eps must be finite"),
        (["--eps", "8"], "Did you mean 8/255?"),
        (["--norm", "l2"], "--norm l2 needs --eps"),
        (["--curve", "0.1", "-1"], "eps must be finite"),
        (["--test-limit", "0"], "limit must be at least 1; got 0"),
        (["--data", "/nowhere"], "--data must be 'digits'"),
        (["--weights", "w.pt"], "--weights goes with --model alone"),
        (["--device", "cuda"], "torch sees no CUDA device here"),
    ],
)
def test_bad_options_are_named(folder, failure, options, message):
    if options[-1] == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert message in failure("evaluate", folder, *options, *SHORT)


def test_data_that_does_not_fit_is_named(folder, squares, failure):
    for options, message in (
        ({"channels": 3}, "the model takes 1 channel(s); got 3"),
        ({"shape": (8, 8)}, "the model was trained on images of 6 x 6 pixels; got 8 x 8"),
        ({"classes": 2}, "the model has 3 classes; got 2"),
        ({"classes": 5}, "the model has 3 classes; got 5"),
    ):
        assert message in failure("evaluate", folder, "--data", squares("other.npz", **options))
