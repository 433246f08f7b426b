"""`acs-fast doctor`: what is there, what is missing and why, and what `auto` makes of it."""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest
import torch

import acs_fast as acs
from acs_fast.cli.main import main
from acs_fast.ops import compiled
from acs_fast.ops.schemas import SCHEMAS
from acs_fast.testing import require_backend


@pytest.fixture
def report(capsys):
    def printed() -> str:
        assert main(["doctor"]) == 0
        return capsys.readouterr().out

    return printed


def test_versions_and_devices(report):
    out = report()
    assert f"acs_fast   {acs.__version__}" in out
    assert f"python     {platform.python_version()}" in out
    assert f"torch      {torch.__version__}" in out
    assert torch.backends.cpu.get_cpu_capability() in out.split("devices")[1].split("backends")[0]


def test_an_optional_package_that_is_not_there(report, monkeypatch):
    def absent(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr("importlib.metadata.version", absent)
    assert re.search(r"^triton +not installed$", report(), re.M)


def test_compiled_kernels(report):
    require_backend("cpu")
    out = report()
    assert re.search(r"^  cpu +ready$", out, re.M)
    assert compiled.MODULE.build_info()["simd"] in out.split("compiled module")[1]
    assert re.search(r"^  facility_location +cpu$", out, re.M)


def test_without_a_compiled_module_the_reason_stands_there(report, monkeypatch):
    monkeypatch.setattr(compiled, "MODULE", None)
    monkeypatch.setattr(compiled, "why_missing", lambda part: "the compiler said no")
    out = report()
    assert re.search(r"^  cpu +missing: the compiler said no$", out, re.M)
    assert "compiled module" not in out
    assert {op for op in SCHEMAS if re.search(rf"^  {op} +reference$", out, re.M)} == set(SCHEMAS)


def test_a_gpu(report, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda i: SimpleNamespace(name="H200", total_memory=139 << 30)
    )
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    out = report()
    assert re.search(r"^  cuda:0 +H200, 139 GiB$", out, re.M)
    assert "what backend='auto' runs on a GPU" in out
