"""`acs-fast select` writes what the library selects, readable with numpy alone."""

import json

import numpy as np
import pytest
import torch

import acs_fast as acs
from acs_fast.cli.main import main
from acs_fast.gradients import AttackPass
from acs_fast.training import build, read_data


def read(path):
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    model = build("small", (torch.zeros(1), torch.ones(1)), 3, 2)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    return str(tmp_path / "w.pt")


@pytest.mark.parametrize("selector", ["craig", "gradmatch", "clusters", "random", "random-stratified"])
def test_the_file_holds_a_coreset_of_the_training_images(tmp_path, squares, weights, selector, capsys):
    path = tmp_path / "c.npz"
    options = ["--data", squares(), "--model", "small", "--width", "2", "--weights", weights, "--eps", "0.1", "--quiet"]
    assert main(["select", *options, "--selector", selector, "--fraction", "0.2", "--output", str(path)]) == 0
    assert "20 of 100 images" in capsys.readouterr().out
    found = read(path)
    assert len(set(found["indices"].tolist())) == 20
    assert found["indices"].max() < 100
    assert found["weights"].min() >= 0
    assert found["weights"].sum() == pytest.approx(100, rel=0.01) or selector == "gradmatch"
    stats = json.loads(str(found["stats"]))
    assert stats["samples"] == 100
    assert stats["config"]["method"] == selector


def test_it_is_the_selection_of_the_library(tmp_path, squares, weights):
    data, path = squares(), tmp_path / "c.npz"
    options = ["--data", data, "--model", "small", "--width", "2", "--weights", weights, "--eps", "0.1", "--quiet"]
    objective = ["--objective", "pgd", "--steps", "2", "--alpha", "0.05", "--batch-size", "128"]
    assert main(["select", *options, *objective, "--output", str(path)]) == 0
    model, images = build("small", (torch.zeros(1), torch.ones(1)), 3, 2, weights).eval(), read_data(data).train
    taken = AttackPass(model, images, acs.PGD(0.1, 0.05, 2, seed=0))(0)
    expected = acs.facility_location(taken.gradients, 25, groups=images.labels)
    found = read(path)
    assert found["indices"].tolist() == expected.indices.tolist()
    np.testing.assert_allclose(found["weights"], expected.weights.numpy())
    np.testing.assert_allclose(found["gains"], expected.gains.numpy(), rtol=1e-5)


def test_of_a_run(tmp_path, train, squares):
    options = ["--selector", "full", "--epochs", "1", "--eps", "0.1"]
    assert train(tmp_path / "run", *options, "--data", squares()) == 0
    path = tmp_path / "c.npz"
    assert main(["select", str(tmp_path / "run"), "--output", str(path), "--quiet"]) == 0
    assert len(read(path)["indices"]) == 25
    assert json.loads(str(read(path)["stats"]))["config"]["eps"] == 0.1


def test_names_of_pictures(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(6):
            image.new("L", (6, 6), 20 * i).save(tmp_path / "data" / label / f"{i}.png")
    path = tmp_path / "c.npz"
    options = ["--data", str(tmp_path / "data"), "--model", "small", "--width", "2", "--selector", "random"]
    assert main(["select", *options, "--output", str(path), "--quiet"]) == 0
    names = read(path)["names"].tolist()
    assert len(names) == 3
    assert all(name.endswith(".png") for name in names)


def test_what_is_missing_is_named(tmp_path, failure):
    assert "name a run (CHECKPOINT), or a model" in failure("select", "--output", tmp_path / "c.npz")
