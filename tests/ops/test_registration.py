"""The dispatcher's view of the operators, what torch.compile makes of them, and what bad input gets."""

import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import acs_fast
from acs_fast.ops import backends, compiled, schemas
from acs_fast.testing import require_backend
from tests.ops.cases import problems, random

MEMBERS, OFFSETS = problems([20, 13])
SHARES = torch.tensor([6, 4])
FACTORS = random(33, 4, 9)


def arguments(op, f=FACTORS):
    r, h, bias = f
    targets = torch.ones(2, r.shape[2], h.shape[2] + 1, dtype=torch.float64)
    return {
        "pairwise_distances": (r, h, bias, False),
        "greedy": (torch.cdist(h[:, 0].float(), h[:, 0].float()), 10),
        "facility_location": (r, h, bias, False, MEMBERS, OFFSETS, SHARES, 10, 1 << 30),
        "gradient_matching": (r, h, bias, MEMBERS, OFFSETS, SHARES, 10, targets, 0.0),
        "packed_greedy": (
            torch.arange(569.0).sin().abs(), torch.tensor([[0, 20, 0, 20], [20, 13, 400, 13]]), SHARES, 10,
            torch.ones(2), False,
        ),
        "cross_entropy_residuals": (h[:, 0], torch.arange(len(h)) % 9),
        "trades_residuals": (h[:, 0], h[:, 0].flip(0), torch.arange(len(h)) % 9, 6.0),
    }[op]  # fmt: skip


@pytest.mark.parametrize("op", schemas.SCHEMAS)
def test_opcheck(op):
    torch.library.opcheck(getattr(torch.ops.acs_fast, op).default, arguments(op))


@pytest.mark.parametrize("op", schemas.SCHEMAS)
def test_compiles_as_one_graph(op):
    function = torch.compile(lambda *a: getattr(torch.ops.acs_fast, op)(*a), fullgraph=True, backend="aot_eager")
    got, expected = function(*arguments(op)), getattr(torch.ops.acs_fast, op)(*arguments(op))
    for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (got, expected)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("op", schemas.SCHEMAS)
def test_requires_grad_is_no_obstacle(op):
    def tracked(x):
        return x.clone().requires_grad_() if isinstance(x, torch.Tensor) and x.is_floating_point() else x

    call = getattr(torch.ops.acs_fast, op)
    got, expected = call(*map(tracked, arguments(op))), call(*arguments(op))
    for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (got, expected)), strict=True):
        assert torch.equal(a, b)


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


def test_the_reason_that_the_build_recorded_is_repeated(monkeypatch, tmp_path):
    record = SimpleNamespace(MISSING={"cpu": "there is no C++ compiler"})
    monkeypatch.setattr(compiled, "MODULE", None)
    monkeypatch.setitem(sys.modules, "acs_fast._build", record)
    assert "there is no C++ compiler" in backends.why_missing("cpu")
    monkeypatch.setitem(sys.modules, "acs_fast._build", None)
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "acs_fast" / "ops" / "compiled.py"))
    assert "pure-Python" in backends.why_missing("cpu")
    (tmp_path / "csrc").mkdir()
    assert f"{tmp_path} is a source tree that was not built: leave the folder" in backends.why_missing("cpu")


def test_selection_without_compiled_code_warns_once(monkeypatch, caplog):
    monkeypatch.setattr(compiled, "MODULE", None)
    backends._warn_of_reference.cache_clear()
    for _ in range(2):
        assert backends.chosen("greedy", "auto", torch.device("cpu")) == "reference"
    backends._warn_of_reference.cache_clear()
    assert [r.message for r in caplog.records if "reference path" in r.message] == [caplog.records[0].message]


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


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_seconds_by_stage(backend):
    require_backend(backend)
    g = acs_fast.LastLayerGradients(FACTORS.residuals, FACTORS.features)
    seconds = acs_fast.facility_location(g, 5, backend=backend).stats["seconds"]
    assert {"distances", "greedy", "select", "error"} <= set(seconds)
    seconds = acs_fast.gradient_matching(g, 5, backend=backend).stats["seconds"]
    assert {"refit", "select", "error"} < set(seconds)
    assert {"correlations", "columns", "screening"} & set(seconds)


R, H = FACTORS.residuals, FACTORS.features
GROUPS = (MEMBERS, OFFSETS, SHARES, 10)
BAD = [
    ("pairwise_distances", (R.long(), H, True, False), TypeError, "residuals"),
    ("pairwise_distances", (R, H.double(), True, False), TypeError, "dtype"),
    ("pairwise_distances", (R[:, 0], H[:, 0], True, False), ValueError, "residuals"),
    ("pairwise_distances", (R[:5], H, True, False), ValueError, "agree"),
    ("greedy", (torch.ones(3, 4), 1), ValueError, "square"),
    ("greedy", (torch.ones(3, 3).long(), 1), TypeError, "float"),
    ("greedy", (torch.ones(3, 3), 4), ValueError, "budget"),
    ("greedy", (torch.ones(3, 3), -1), ValueError, "budget"),
    ("greedy", (torch.full((3, 3), torch.nan), 1), ValueError, "finite"),
    ("greedy", (torch.full((3, 3), torch.inf), 1), ValueError, "finite"),
    ("greedy", (-torch.ones(3, 3), 1), ValueError, ">= 0"),
    ("facility_location", (R, H, True, False, MEMBERS + 1, *GROUPS[1:], 0), ValueError, "members"),
    ("facility_location", (R, H, True, False, MEMBERS.int(), *GROUPS[1:], 0), TypeError, "members"),
    ("facility_location", (R, H, True, False, MEMBERS, OFFSETS.flip(0), *GROUPS[2:], 0), ValueError, "offsets"),
    ("facility_location", (R, H, True, False, MEMBERS, OFFSETS, torch.tensor([21, 4]), 25, 0), ValueError, "budgets"),
    ("facility_location", (R, H, True, False, MEMBERS, OFFSETS, SHARES, 11, 0), ValueError, "budget"),
    ("gradient_matching", (R, H, True, *GROUPS, torch.ones(2, 4, 9), 0.0), ValueError, "targets"),
    ("gradient_matching", (R, H, True, *GROUPS, torch.ones(2, 4, 10), -1.0), ValueError, "ridge"),
    ("packed_greedy", (torch.ones(9), torch.tensor([[0, 3, 1, 3]]), torch.tensor([2]), 2, torch.ones(1), True),
     ValueError, "within 9"),
    ("cross_entropy_residuals", (torch.zeros(2, 3), torch.tensor([-(2**63), 1])), ValueError, r"labels must .*3\)"),
    ("trades_residuals", (torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0, 3]), 1.0), ValueError, "got 3"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "args", "kind", "message"), BAD)
def test_bad_input_is_an_error(op, args, kind, message):
    require_backend("cpu")
    with pytest.raises(kind, match=message):
        getattr(torch.ops.acs_fast, op)(*args)


def test_not_finite_factors_do_no_harm():
    require_backend("cpu")
    for value in (torch.nan, torch.inf, -torch.inf):
        bad = random(33, 4, 9)
        bad.features[7, 0, 2] = value
        for op in schemas.SCHEMAS:
            try:
                getattr(torch.ops.acs_fast, op)(*arguments(op, bad))
            except ValueError:
                assert op == "greedy"


def test_an_unknown_or_absent_backend_is_an_error():
    with pytest.raises(RuntimeError, match="not available"):
        backends.chosen("greedy", "triton", torch.device("cpu"))
    with pytest.raises(ValueError, match="backend"):
        backends.chosen("greedy", "gpu", torch.device("cpu"))
