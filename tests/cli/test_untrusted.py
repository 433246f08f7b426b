"""Files of others run nothing: code that they name is run only where the command line names it too."""

import json

import pytest
import torch

from acs_fast.cli.main import main

CODE = """
from pathlib import Path
import torch
from torch.utils.data import TensorDataset

Path({trace!r}).touch()


def network(classes, channels):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * 16, classes))


def images():
    y = torch.arange(60) % 3
    return TensorDataset(0.5 * torch.rand(60, 1, 4, 4) + 0.2 * y[:, None, None, None], y)
"""
RUN = ["--objective", "vanilla", "--selector", "full", "--epochs", "1", "--test-limit", "8", "--quiet"]


@pytest.fixture
def trace(tmp_path):
    """What the code leaves behind when it is run."""
    return tmp_path / "executed"


@pytest.fixture
def code(tmp_path, trace):
    """A file with a network and images."""
    path = tmp_path / "code.py"
    path.write_text(CODE.format(trace=str(trace)))
    return str(path)


@pytest.fixture
def named(code):
    """The options that name it."""
    return ["--model", f"{code}:network", "--data", f"{code}:images"]


@pytest.fixture
def folder(tmp_path, named, trace):
    """A run of that code, of which the last epoch is still to do."""
    folder = tmp_path / "run"
    assert main(["train", *RUN, *named, "--output", str(folder)]) == 0
    (folder / "full-seed0" / "result.json").unlink()
    trace.unlink()
    return folder


def test_a_run_is_resumed_with_the_code_that_the_user_names(folder, named, trace, code, failure):
    for given, missing in ((named[2:], "model"), (named[:2], "data"), ([], "model")):
        said = failure("train", "--resume", folder, *given, "--quiet")
        assert (
            f"job.json: its {missing} is code of the user's own; to run that code, name it: --{missing} {code}" in said
        )
    other = ["--model", "os:abort", *named[2:]]
    assert f"its model is '{code}:network', not 'os:abort'" in failure("train", "--resume", folder, *other, "--quiet")
    assert not trace.exists()
    assert main(["train", "--resume", str(folder), *named, "--quiet"]) == 0
    assert trace.exists()


def test_what_to_type_after_an_interruption_names_the_code(tmp_path, named, capsys, monkeypatch):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("acs_fast.training.run.Run.train", interrupt)
    assert main(["train", *RUN, *named, "--output", str(tmp_path / "run")]) == 130
    assert f"acs-fast train --resume {tmp_path / 'run'} {' '.join(named)}\n" in capsys.readouterr().err


def test_settings_in_a_file_name_no_code(folder, named, trace, tmp_path, failure):
    job = folder / "job.json"
    assert "job.json: its model is code" in failure("train", "--config", job, "--output", tmp_path / "other")
    assert "job.json: its data is code" in failure("train", "--config", job, *named[:2], "--output", tmp_path / "other")
    assert not trace.exists()
    assert main(["train", "--config", str(job), *named, "--output", str(tmp_path / "other"), "--quiet"]) == 0


@pytest.mark.parametrize("command", ["evaluate", "select"])
def test_nor_do_checkpoints(folder, named, trace, tmp_path, failure, command):
    best = folder / "full-seed0" / "best.pt"
    assert "best.pt: its model is code" in failure(command, best)
    state = torch.load(best, weights_only=True)
    weights = {f"{i}.{name}": w for i, name, w in ([*k.split("."), v] for k, v in state["model"].items())}
    torch.save({**state, "model": weights, "config": {**state["config"], "model": "small"}}, tmp_path / "best.pt")
    assert "do not fit its settings" in failure(command, tmp_path / "best.pt")
    assert not trace.exists()
    output = ["--output", tmp_path / ("coreset.npz" if command == "select" else "report"), "--quiet"]
    assert f"best.pt: its data is code of the user's own; to run that code, name it: {' '.join(named[2:])}" in failure(
        command, best, *named[:2], *output
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"config": None}, "its settings are not those of this version of acs-fast"),
        ({"config": {"epochs": "9"}}, "epochs must be int; got str"),
        ({"config": {"data": 3}}, "data must be str; got int"),
        ({"config": {"fraction": True}}, "fraction must be float; got bool"),
        ({"config": {"anything": 1}}, "its settings are not those of this version of acs-fast"),
        ({"seeds": "1"}, "was not written by acs-fast train"),
        ({"methods": [[]]}, "was not written by acs-fast train"),
        ({"methods": "full"}, "was not written by acs-fast train"),
    ],
)
def test_settings_of_other_kinds_are_named(tmp_path, failure, settings, message):
    (tmp_path / "job.json").write_text(json.dumps({"config": {}, "seeds": 1, "methods": None} | settings))
    assert message in failure("train", "--resume", tmp_path, "--quiet")


def test_checkpoints_with_other_things_in_them_are_named(tmp_path, squares, failure):
    assert main(["train", "--data", squares(), "--width", "2", *RUN, "--output", str(tmp_path)]) == 0
    path = tmp_path / "full-seed0" / "checkpoint.pt"
    path.with_name("result.json").unlink()
    state = torch.load(path, weights_only=True)
    for key in state.keys() - {"shape", "classes"}:
        for value in (None, {}, [3], "x", 7.5):
            torch.save({**state, key: value}, path)
            assert f"{path}: " in failure("train", "--resume", tmp_path, "--quiet"), (key, value)
