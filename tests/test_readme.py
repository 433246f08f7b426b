"""The README: short, with a diff of five lines whose both sides run, and names that exist."""

import re
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs
from tests.helpers import ConvNet, images

README = (Path(__file__).parent.parent / "README.md").read_text()


def sides():
    (diff,) = re.findall(r"```diff\n(.*?)```", README, re.DOTALL)
    lines = diff.splitlines()
    before = "\n".join(line[1:] for line in lines if line[0] in " -")
    after = "\n".join(line[1:] for line in lines if line[0] in " +")
    return lines, before, after


def test_one_reads_it_to_the_end():
    assert len(README.splitlines()) <= 180


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
    (table,) = re.findall(r"^\| name \| what it does \|\n(.*?)\n\n", README, re.MULTILINE | re.DOTALL)
    rows = [row.split("|")[1] for row in table.splitlines()[1:]]
    assert len(rows) <= 15
    for name in re.findall(r"`([A-Za-z_]+)[(`]", " ".join(rows[:-1])):
        assert hasattr(acs, name), name
    (parts,) = (row for row in rows if "`.dataset`" in row)
    for name in re.findall(r"`\.([a-z_]+)", parts):
        assert hasattr(acs.AdversarialCoreset, name) or name in ("dataset", "sampler"), name
