"""Backends on a GPU, or where there is none."""

from __future__ import annotations

import pytest
import torch

from acs_fast.ops import backends, toolchain
from acs_fast.ops import device as ops


def test_missing_backends_say_why():
    if torch.cuda.is_available():
        pytest.skip("a GPU is there")
    for name in ("triton", "cuda"):
        assert "finds no GPU" in (backends.why_missing(name) or "")
        with pytest.raises(RuntimeError, match=f"backend '{name}' is not available: torch .* finds no GPU"):
            backends.chosen("greedy", name, torch.device("cpu"))


def test_amd_gets_triton_and_the_reference(monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "7.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(ops, "has_cuda_greedy", lambda: False)
    monkeypatch.setattr(ops, "has_triton", lambda: True)
    assert backends.why_missing("triton") is None
    assert "AMD" in (backends.why_missing("cuda") or "")
    gpu = torch.device("cuda")
    for op, expected in (
        ("facility_location", "triton"),
        ("pairwise_distances", "triton"),
        ("gradient_matching", "triton"),
    ):
        assert backends.chosen(op, "auto", gpu) == expected
    explained = backends.explain("facility_location", "triton", gpu)
    assert explained.startswith("distances by triton, greedy by triton; cuda: torch")


@pytest.mark.parametrize(
    ("capability", "version", "there"),
    [((9, 0), "3.6.0", True), ((10, 0), "3.7.1", False), ((12, 0), "3.6.0+git1", False), ((10, 0), "3.8.0", True),
     ((10, 3), "3.10.0", True)],
)  # fmt: skip
def test_matching_goes_by_torch_where_triton_is_too_old_for_the_gpu(monkeypatch, capability, version, there):
    monkeypatch.setattr(toolchain, "triton_version", lambda: version)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda where: capability)
    monkeypatch.setattr(ops, "has_triton", lambda: True)
    monkeypatch.setattr(backends, "why_missing", lambda name: None)
    gpu = torch.device("cuda")
    name = backends.chosen("gradient_matching", "auto", gpu)
    explained = backends.explain("gradient_matching", name, gpu)
    assert backends.chosen("facility_location", "triton", gpu) == "triton"
    if there:
        assert name == backends.chosen("gradient_matching", "triton", gpu) == "triton"
        assert explained == "matching by triton, all groups together"
        return
    assert name == "reference"
    assert explained.startswith("reference; triton: gradient_matching needs triton >= 3.8 on this GPU")
    assert version in explained
    with pytest.raises(RuntimeError, match="gradient_matching needs triton >= 3"):
        backends.chosen("gradient_matching", "triton", gpu)


def test_an_explicit_backend_without_the_operator_raises(monkeypatch):
    monkeypatch.setattr(backends, "why_missing", lambda name: None)
    with pytest.raises(RuntimeError, match="pairwise_distances has no cuda kernels"):
        backends.chosen("pairwise_distances", "cuda", torch.device("cuda"))
    with pytest.raises(ValueError, match="needs tensors on a GPU"):
        backends.chosen("greedy", "triton", torch.device("cpu"))
