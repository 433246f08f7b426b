"""A fingerprint of the code that decides a run's result, so that finished runs are reused for the same code only."""

from __future__ import annotations

import ast
import hashlib
import subprocess
from pathlib import Path

import torch

from acs_fast.ops import compiled
from benchmarks import ROOT

NO_PART = ("acs_fast/cli/", "acs_fast/training/report.py", "acs_fast/training/comparison.py")
OWN = tuple(f"benchmarks/experiments/{name}.py" for name in ("trial", "faults", "budgeted", "pools", "arms"))
PLANS = tuple(f"benchmarks/experiments/{name}.py" for name in ("targets", "confirmations", "table"))


def code_version() -> str:
    """Hash of the package's syntax trees, of the kernels' sources and of torch's version; comments do not count."""
    digest = hashlib.sha256(f"{torch.__version__} {compiled.MODULE is not None}".encode())
    for path in _sources():
        text = _without_prose(path) if path.suffix == ".py" else path.read_text()
        digest.update(f"{path.relative_to(ROOT).as_posix()}\0{text}\0".encode())
    return digest.hexdigest()[:12]


def plan_commit() -> str:
    """The commit in which the plans were written down as they are; with "+" where they have changed since."""
    git = ("git", "-C", str(ROOT))
    found = subprocess.run([*git, "log", "-1", "--format=%h %cI", "--", *PLANS], capture_output=True, text=True)
    changed = subprocess.run([*git, "status", "--porcelain", "--", *PLANS], capture_output=True, text=True)
    return found.stdout.strip() + "+" * bool(changed.stdout)


def _sources() -> list[Path]:
    own = [ROOT / name for name in OWN]
    package = [p for p in (ROOT / "acs_fast").rglob("*.py") if p.name != "_build.py"]
    kernels = [p for p in (ROOT / "csrc").rglob("*") if p.suffix in (".cpp", ".h", ".cu", ".cuh")]
    kept = [p for p in (*package, *own, *kernels) if not p.relative_to(ROOT).as_posix().startswith(NO_PART)]
    return sorted(p for p in kept if p.is_file())


def _without_prose(path: Path) -> str:
    """The syntax tree without docstrings and positions."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)
