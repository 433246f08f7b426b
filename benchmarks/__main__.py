"""`python -m benchmarks`: the operators against the reference path and the strongest peers, after their tests pass."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import command

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--case", action="append", default=[], metavar="NAME", help="only this case (shell pattern)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeat", type=int, default=7, help="timed runs of each opponent at most (default 7)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything work? not for the README")
    parser.add_argument("--output", type=Path, metavar="FILE", help="results file (default benchmarks/results/...)")
    parser.add_argument("--tests", default="tests/ops", metavar="PATH", help="tests that have to pass first")
    parser.add_argument("--list", action="store_true", help="list the cases and end")
    sys.exit(command.run(parser.parse_args()))
