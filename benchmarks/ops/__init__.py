"""Cases over operators, and those of them that a newcomer runs to see whether everything works."""

from benchmarks.ops.cases import CASES, QUICK

__all__ = ["CASES", "QUICK"]
