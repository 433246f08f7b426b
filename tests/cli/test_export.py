"""What is exported computes the same without acs_fast."""

import subprocess
import sys

import pytest
import torch

from acs_fast.cli.main import main
from acs_fast.training import load

WITHOUT = """
import sys, torch
sys.modules["acs_fast"] = None
program = torch.export.load(sys.argv[1]).module()
x = torch.load(sys.argv[2], weights_only=True)
torch.save(program(x), sys.argv[3])
"""


@pytest.fixture
def folder(tmp_path, train):
    assert train(tmp_path / "run", "--selector", "full", "--epochs", "1") == 0
    return tmp_path / "run"


def test_a_program_runs_without_the_package(folder, tmp_path, capsys):
    assert main(["export", str(folder), str(tmp_path / "m.pt2")]) == 0
    assert "takes pixels of [0, 1], [N, 1, 8, 8]" in capsys.readouterr().out
    x = torch.rand(5, 1, 8, 8)  # another batch size than it was traced with
    torch.save(x, tmp_path / "x.pt")
    files = [str(tmp_path / name) for name in ("m.pt2", "x.pt", "z.pt")]
    subprocess.run([sys.executable, "-c", WITHOUT, *files], check=True, cwd=tmp_path)
    torch.testing.assert_close(torch.load(tmp_path / "z.pt", weights_only=True), load(folder)(x))


def test_weights_alone(folder, tmp_path):
    assert main(["export", str(folder), str(tmp_path / "w.pt")]) == 0
    weights, model = torch.load(tmp_path / "w.pt", weights_only=True), load(folder)
    assert all(torch.equal(w, model.state_dict()[k]) for k, w in weights.items())
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    assert main(["export", str(folder), str(tmp_path / "w.safetensors")]) == 0
    assert (tmp_path / "w.safetensors").stat().st_size > 1000


def test_onnx_names_its_input_and_output_and_computes_the_same(folder, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    assert main(["export", str(folder), str(tmp_path / "m.onnx")]) == 0
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    for n in (1, 5):  # other batch sizes than it was traced with
        x = torch.rand(n, 1, 8, 8)
        (logits,) = session.run(["logits"], {"pixels": x.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), load(folder)(x).detach())


def test_a_missing_onnx_is_named(folder, tmp_path, failure, monkeypatch):
    def without(*arguments, **options):  # torch keeps what it has imported once, so that hiding the package is too late
        raise ModuleNotFoundError("No module named 'onnxscript'")

    monkeypatch.setattr(torch.onnx, "export", without)
    assert "pip install onnx onnxscript" in failure("export", folder, tmp_path / "m.onnx")


def test_other_endings_are_refused(folder, tmp_path, failure):
    assert "FILE must end in .pt2, .pt, .safetensors, .onnx" in failure("export", folder, tmp_path / "m.tar")
