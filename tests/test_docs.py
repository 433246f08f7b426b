"""The documents: code blocks run, links resolve, figures stand in the tables, every public name and option is known."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs
from acs_fast.cli.main import main
from tests.helpers import ConvNet, images

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OPTIONAL = ("datasets", "lightning", "sklearn", "torchattacks")


def blocks(language):
    """Code blocks of all documents in a language, named by document and line."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text()
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            found.append(pytest.param(match[1], id=f"{path.stem}:{text[: match.start()].count(chr(10)) + 1}"))
    return found


def given():
    """What blocks may use without defining it."""
    torch.manual_seed(0)
    model, (x, y) = ConvNet(), images(64)
    return {
        "acs": acs, "torch": torch, "nn": nn, "F": F, "DataLoader": DataLoader, "TensorDataset": TensorDataset,
        "model": model, "dataset": TensorDataset(x, y), "plain_dataset": TensorDataset(x, y), "x": x[:8], "y": y[:8],
        "objective": acs.PGD(0.1, 0.05, 1, seed=0), "optimizer": torch.optim.SGD(model.parameters(), 0.05),
    }  # fmt: skip


@pytest.mark.parametrize("code", blocks("python"))
def test_block_runs(code, tmp_path, monkeypatch):
    for package in OPTIONAL:
        if re.search(rf"(import|from) \S*\b{package}\b", code):
            pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    exec(code, given())


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_relative_links_resolve(path):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text())
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("name", ["README.md", "docs/findings.md"])
def test_figures_are_measured(name):
    """Every decimal figure in prose and tables stands in the generated tables."""
    measured = set(re.findall(r"\d+\.\d+(?:e-\d+)?", (ROOT / "docs" / "benchmarks.md").read_text()))
    text = re.sub(r"<!-- benchmarks -->.*?<!-- /benchmarks -->", "", (ROOT / name).read_text(), flags=re.DOTALL)
    text = re.sub(r"^```.*?^```|`[^`\n]*`|(Python|torch) \d+\.\d+", "", text, flags=re.DOTALL | re.MULTILINE)
    unknown = set(re.findall(r"\d+\.\d+(?:e-\d+)?", text)) - measured
    assert not unknown


def test_every_public_name_is_documented():
    text = "\n".join(path.read_text() for path in DOCUMENTS)
    assert not [name for name in acs.__all__ if not re.search(rf"\b{name}\b", text)]


@pytest.mark.parametrize("code", blocks("sh"))
def test_commands_exist(code, capsys):
    for command, rest in re.findall(r"^acs-fast (\w+)([^#\n]*)", code, re.MULTILINE):
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        helped = capsys.readouterr().out
        assert not [option for option in re.findall(r"--[a-z-]+", rest) if option not in helped]
