"""The README's diff is five lines, and both sides of it run."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs
from acs_fast.cli.main import main
from tests.helpers import ConvNet, images

README = (Path(__file__).parent.parent / "README.md").read_text()


def sides():
    (diff,) = re.findall(r"```diff\n(.*?)```", README, re.DOTALL)
    lines = diff.splitlines()
    before = "\n".join(line[1:] for line in lines if line[0] in " -")
    after = "\n".join(line[1:] for line in lines if line[0] in " +")
    return lines, before, after


def test_five_changed_lines():
    lines, _, _ = sides()
    assert sum(line.startswith("+") for line in lines) == 5


def test_both_sides_train():
    _, before, after = sides()
    for code in (before, after):
        torch.manual_seed(0)
        model = ConvNet()
        start = [p.detach().clone() for p in model.parameters()]
        names = {
            "acs": acs, "F": F, "DataLoader": DataLoader, "model": model, "dataset": TensorDataset(*images(40)),
            "attack": partial(acs.PGD(0.1, 0.05, 1).perturb, model),
            "optimizer": torch.optim.SGD(model.parameters(), 0.05),
        }  # fmt: skip
        exec(code.replace("range(30)", "range(12)").replace("epochs=30", "epochs=12"), names)
        assert any(not torch.equal(a, b) for a, b in zip(start, model.parameters(), strict=True))
    assert len(names["coreset"].history) == 2


def test_named_api_exists():
    for name in re.findall(r"^\| `([A-Za-z_]+)\(", README, re.MULTILINE):
        assert hasattr(acs, name), name
    (parts,) = re.findall(r"^\| (`\.dataset`.*?) \|", README, re.MULTILINE)
    for name in re.findall(r"`\.([a-z_]+)", parts):
        assert hasattr(acs.AdversarialCoreset, name) or name in ("dataset", "sampler", "batch_sampler"), name


def test_commands_parse(capsys):
    """Every option of the command lines shown exists."""
    helped = []
    for command in ("train", "evaluate", "doctor"):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        helped.append(capsys.readouterr().out)
    for option in re.findall(r"acs-fast train.*?(--[a-z-]+)", README):
        assert option in helped[0]
    for line in re.findall(r"^acs-fast evaluate.*", README, re.MULTILINE):
        for option in re.findall(r"--[a-z-]+", line):
            assert option in helped[1]
