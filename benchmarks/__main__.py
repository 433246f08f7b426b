"""`python -m benchmarks`: the same as `acs-fast bench`."""

from __future__ import annotations

import argparse
import sys

from acs_fast.cli import bench

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=bench.DESCRIPTION)
    bench.add_arguments(parser)
    sys.exit(bench.run(parser.parse_args()))
