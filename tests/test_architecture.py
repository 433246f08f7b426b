"""The house: who may import what, what importing costs, which tests are where, and that the documented examples run."""

import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import acs_fast

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(acs_fast.__path__, "acs_fast.") if not m.name.startswith("acs_fast._")
)
TESTS = Path(__file__).parent
PACKAGES = {"benchmarks": "benchmarks", "gpu": "acs_fast/ops", "util": "acs_fast/_util"}  # of folders called otherwise
BEHAVIOURS = {  # files of what spans modules, by folder
    "": "architecture arrays conftest distributed distributed_resumption docs examples readme recorded_runs resumption",
    "benchmarks/gpu": "rehearsal",
    "cli": "kills processes untrusted",
    "fuzz": "files gradients objectives operators selection",
    "gpu": "attacks compiles greedy_emulated greedy_races machine_code on_gpu",
    "gradients": "exactness",
    "objectives": "objectives torchattacks",
    "ops": "memory threads",
    "selection": "upstream_defects",
    "selection/distributed": "faults selection",
}


def test_layers():
    result = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr


def test_files_of_tests_are_called_after_modules():
    """Whoever changes a module finds its tests at its own path; those of an operator at that of its reference."""
    found = {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    spanning = {Path(folder, f"test_{name}.py") for folder, names in BEHAVIOURS.items() for name in names.split()}
    assert spanning <= found
    for path in found - spanning:
        first, *rest = path.parent.parts or [""]
        package = TESTS.parent / PACKAGES.get(first, f"acs_fast/{first}") / Path(*rest)
        modules = [
            *package.glob("*.py"),
            *package.glob("reference/*.py"),
            *(p.parent for p in package.glob("*/__init__.py")),
        ]
        assert path.stem.removeprefix("test_") in {module.stem.strip("_") for module in modules}, path


def test_importing_is_cheap_and_silent():
    code = (
        "import sys, torch; state = torch.get_rng_state(); import acs_fast; "
        "heavy = {'triton', 'matplotlib', 'sklearn', 'scipy', 'torchvision'} & set(sys.modules); "
        "assert not heavy, heavy; assert not torch.cuda.is_initialized(); "
        "assert torch.equal(state, torch.get_rng_state())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("acs_fast"):
            raise
        pytest.skip(f"{error.name} is not installed")
    import torch
    from torch import nn

    names = {**vars(module), "torch": torch, "nn": nn}
    failures, _ = doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failures == 0


def test_every_public_name_is_documented():
    for name in acs_fast.__all__:
        doc = getattr(acs_fast, name).__doc__ or ""
        assert len(doc.strip().splitlines()[0]) > 20, name


def test_importing_it_imports_nothing_that_trains():
    program = "import sys, acs_fast; print([m for m in sys.modules if m.startswith('acs_fast.training')])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
