"""The compiled module: how it was built, what it links, its instruction sets, and its absence."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from acs_fast.ops import compiled
from acs_fast.testing import require_backend


def test_build_info():
    require_backend("cpu")
    info = compiled.MODULE.build_info()
    assert info["simd"] in ("baseline", "avx2", "avx512")
    assert "fast-math" not in info["flags"]


def test_nothing_compiled_links_torch():
    require_backend("cpu")
    if shutil.which("readelf") is None:
        pytest.skip("readelf is not installed")
    needed = subprocess.run(["readelf", "-d", compiled.MODULE.__file__], capture_output=True, text=True, check=True)
    libraries = re.findall(r"NEEDED.*\[(.+)\]", needed.stdout)
    assert libraries
    assert not [name for name in libraries if re.match(r"lib(torch|c10|cudart|cublas|cusparse)", name)]


def test_a_module_that_cannot_load_is_an_error(monkeypatch):
    def broken(name):
        raise ImportError("undefined symbol")

    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(compiled.importlib, "import_module", broken)
    with pytest.raises(RuntimeError, match=r"reinstall.*undefined symbol"):
        compiled.load()


def test_absence_of_the_module_is_quiet(monkeypatch):
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda name: None)
    assert compiled.load() is None


SIMD = ("baseline", "avx2", "avx512")


@pytest.mark.parametrize("level", SIMD)
def test_every_instruction_set_picks_the_same(level):
    require_backend("cpu")
    best = compiled.MODULE.build_info()["best simd"]
    if SIMD.index(level) > SIMD.index(best):
        pytest.skip(f"this processor has no {level}")
    script = """
import torch, acs_fast
from acs_fast.ops import compiled
from tests.ops.cases import random
f = random(300, 10, 65, passes=2)
d = acs_fast.pairwise_distances(acs_fast.LastLayerGradients(f.residuals, f.features))
g = acs_fast.LastLayerGradients(f.residuals.double(), f.features.double())
picks = [acs_fast.facility_location(g, 60).indices.tolist(), acs_fast.gradient_matching(g, 60).indices.tolist()]
print(compiled.MODULE.build_info()["simd"], round(float(d.sum()), 1), picks)
"""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **extra},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split(" ", 1)
        for extra in ({}, {"ACS_FAST_SIMD": level})
    ]
    assert outputs[1][0] == level
    assert outputs[0][1] == outputs[1][1]


def test_an_instruction_set_that_does_not_exist_is_an_error():
    require_backend("cpu")
    script = "from acs_fast.ops import compiled; compiled.MODULE.build_info()"
    failed = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "ACS_FAST_SIMD": "mmx"}, capture_output=True, text=True
    )
    assert "ACS_FAST_SIMD must be one of" in failed.stderr
