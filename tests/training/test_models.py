"""Models by name: our own, timm's, and the user's; and weights from wherever they come."""

import pickle
import re
import sys

import pytest
import torch
from torch import nn

from acs_fast.training.checkpoint import CheckpointError
from acs_fast.training.files import DataError
from acs_fast.training.models import build, load_weights

STATISTICS = torch.full((3,), 0.4), torch.full((3,), 0.2)
OWN = """
from torch import nn
def net(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 16, num_classes))
def anything(**options):
    return nn.Sequential(nn.Flatten(), nn.Linear(48, options["classes"]))
def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 5))
def wrong():
    return 3
def failing():
    raise KeyError("x")
class Net(nn.Module):
    def __init__(self, width, num_classes):
        super().__init__()
        self.fc = nn.Linear(width, num_classes)
"""


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


@pytest.mark.parametrize("name", ["small", "resnet18"])
def test_our_own_normalise_first(name):
    model = build(name, STATISTICS, 5, 4).eval()
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 5)
    first = next(iter(model.children()))
    torch.testing.assert_close(first(torch.full((1, 3, 2, 2), 0.6)), torch.ones(1, 3, 2, 2))


@pytest.mark.parametrize("name", ["net", "anything", "plain"])
def test_a_factory_is_called_with_what_it_takes(own, name):
    assert build(f"{own}:{name}", STATISTICS, 5)(torch.rand(2, 3, 4, 4)).shape == (2, 5)


def test_a_class_is_a_factory(own):
    assert build(f"{own}:Net", STATISTICS, 5, 7).fc.weight.shape == (5, 7)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrong", "must return a torch.nn.Module; got int"),
        ("failing", "cannot be made"),
        ("Net", "cannot be made .* it may take num_classes, classes, in_channels, channels and width"),
    ],
)
def test_unusable_factories_are_named(own, name, message):
    with pytest.raises(DataError, match=message):
        build(f"{own}:{name}", STATISTICS, 5)


def test_unknown_models_are_named():
    with pytest.raises(DataError, match="--model must be small, resnet18, timm:NAME or module:factory; got 'vgg'"):
        build("vgg", STATISTICS, 5)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("inside", [None, "state_dict", "model"])
def test_weights_of_wrapped_models_and_checkpoints(tmp_path, prefix, inside):
    trained = build("small", STATISTICS, 5, 2)
    weights = {f"{prefix}{k}": v for k, v in trained.state_dict().items()}
    torch.save(weights if inside is None else {inside: weights, "epoch": 3}, tmp_path / "w.pt")
    model = build("small", (torch.zeros(3), torch.ones(3)), 5, 2, str(tmp_path / "w.pt"))
    assert all(torch.equal(w, model.state_dict()[k]) for k, w in trained.state_dict().items())


def test_unusable_weights_are_named(tmp_path):
    model = nn.Linear(2, 3)
    for content, message in (
        ({"weight": torch.zeros(3, 3), "bias": torch.zeros(3)}, "do not fit the model"),
        ({"a": 1}, "holds no weights"),
        ([1], "holds no weights"),
        ({}, "holds no weights"),
    ):
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(CheckpointError, match=message):
            load_weights(model, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        load_weights(model, tmp_path / "none.pt")


def test_unusable_safetensors_are_named(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    model, path = nn.Linear(2, 3), tmp_path / "w.safetensors"
    safetensors.save_file({k: v + 1 for k, v in model.state_dict().items()}, path)
    whole, expected = path.read_bytes(), model.bias.detach() + 1
    load_weights(model, path)
    assert torch.equal(model.bias, expected)
    for content in (b"", b"text", whole[:-4], whole[: len(whole) // 2], b"\xff" * 64, pickle.dumps({"a": 1})):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"w\.safetensors: cannot be read as safetensors \("):
            load_weights(model, path)
    safetensors.save_file({"weight": torch.zeros(3, 3)}, path)
    with pytest.raises(CheckpointError, match="do not fit the model"):
        load_weights(model, path)
    with pytest.raises(CheckpointError, match="there is no such file"):
        load_weights(model, tmp_path / "none.safetensors")


def test_timm(tmp_path):
    try:
        import timm
    except Exception as error:  # a torchvision of another torch build fails in many ways
        pytest.skip(f"timm does not import beside this torch: {error}")
    model = build("timm:resnet18", STATISTICS, 5)
    assert model.eval()(torch.rand(2, 3, 32, 32)).shape == (2, 5)
    torch.testing.assert_close(model.normalise.mean.flatten(), STATISTICS[0])
    torch.save(timm.create_model("resnet18", num_classes=5).state_dict(), tmp_path / "w.pt")
    model = build("timm:resnet18", STATISTICS, 5, weights=str(tmp_path / "w.pt"))
    torch.testing.assert_close(model.normalise.mean.flatten(), torch.tensor(model.network.pretrained_cfg["mean"]))
    with pytest.raises(DataError, match="timm:no_such_net: cannot be made"):
        build("timm:no_such_net", STATISTICS, 5)


def test_a_missing_timm_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    advice = re.escape(f"pip install timm torchvision (a torchvision made for torch {torch.__version__})")
    with pytest.raises(DataError, match=f"needs timm, which cannot be imported.*{advice}"):
        build("timm:resnet18", STATISTICS, 5)
