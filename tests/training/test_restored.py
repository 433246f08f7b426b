"""Models that `acs-fast train` trained, and checkpoints that are none."""

import pytest
import torch

import acs_fast as acs
from acs_fast.training import CheckpointError, load


def test_load_gives_the_model_in_eval_mode(folder, squares):
    model = acs.load(folder)
    assert not model.training
    assert model(torch.rand(2, 1, 6, 6)).shape == (2, 3)
    last = load(folder / "random-seed0" / "checkpoint.pt")
    assert last(torch.rand(2, 1, 6, 6)).shape == (2, 3)


def test_bad_checkpoints_are_named(folder, tmp_path):
    good, path = folder / "random-seed0" / "best.pt", tmp_path / "best.pt"
    state = torch.load(good, weights_only=True)

    def fails(message, **entries):
        torch.save({**state, **entries}, path)
        with pytest.raises(CheckpointError, match=message):
            load(path)

    fails("its settings are not those", config={"learning": 1})
    fails("its settings are not those", config={**state["config"], "eps": -1.0})
    fails("holds no weights", model=3)
    fails("holds no weights", model={})
    fails("do not fit its settings", model={"w": torch.zeros(3)})
    fails("do not fit its settings", config={**state["config"], "width": 5})
    fails("does not say what images", shape=None)
    fails("does not say what images", classes="three")
    fails("does not say what images", classes=True)
    fails("does not say what images", shape=[True, 4, 4])
    fails("does not say after which epoch", epoch=torch.zeros(2))
    fails("NaN or infinity", model={k: v * torch.nan for k, v in state["model"].items()})
    fails("its model is code of the user's own", config={**state["config"], "model": "os:abort"})  # which is not run
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"there is no best\.pt in it"):
        load(tmp_path / "empty")


def test_a_folder_of_several_runs_asks_which(tmp_path):
    for name in ("craig-seed0", "full-seed0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "best.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="holds 2 runs; name one"):
        load(tmp_path)
