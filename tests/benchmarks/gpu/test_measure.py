"""The measurements begin on a GPU only."""

import pytest
import torch

from benchmarks.gpu import measure


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_without_a_gpu_nothing_is_measured(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["measure"])
    assert measure.main() == 1
    assert "finds no GPU" in capsys.readouterr().err
