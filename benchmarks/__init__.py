"""The full suite: operators and training steps against the strongest opponents, training experiments, and the report.

Cases run on `acs_fast.benchmark`, the runner of `acs-fast bench`.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
