"""Benchmarks: cases, opponents, one runner, one kind of row; `acs-fast bench` runs the cases of `suite`."""

from acs_fast.benchmark.case import Case
from acs_fast.benchmark.opponents import OPPONENTS, Opponent
from acs_fast.benchmark.rows import Row, Run, read
from acs_fast.benchmark.runner import execute

__all__ = ["OPPONENTS", "Case", "Opponent", "Row", "Run", "execute", "read"]
