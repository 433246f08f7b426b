"""`acs-fast bench`: the fast path against the reference path and the strongest peers. Needs a source checkout."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

DESCRIPTION = "Measure the operators against the reference path and the strongest peers, after their tests have passed."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("--case", action="append", default=[], metavar="NAME", help="only this case (shell pattern)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeat", type=int, default=7, help="timed runs of each opponent at most (default 7)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything work? not for the README")
    parser.add_argument("--output", type=Path, metavar="FILE", help="results file (default benchmarks/results/...)")
    parser.add_argument("--tests", default="tests/ops", metavar="PATH", help="tests that have to pass first")
    parser.add_argument("--list", action="store_true", help="list the cases and end")


def run(args: argparse.Namespace) -> int:
    """Run the benchmarks; 0 on success, 1 when the operators' tests fail, 2 when they cannot be run."""
    root = checkout()
    if root is None:
        print(
            "acs-fast bench: no source checkout here (a folder with benchmarks/ and tests/). Benchmarks run the "
            "operators' tests first, so clone the repository and run it there, with `pip install -e '.[test,bench]'`",
            file=sys.stderr,
        )
        return 2
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    suite: Any = importlib.import_module("benchmarks.command")
    return int(suite.run(args))


def checkout() -> Path | None:
    """The source checkout: what holds the package, or the current directory."""
    for root in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (root / "benchmarks" / "cases.py").is_file() and (root / "tests").is_dir():
            return root
    return None
