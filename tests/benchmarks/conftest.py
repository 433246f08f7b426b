from __future__ import annotations

import sys
from pathlib import Path

import pytest

from acs_fast.benchmark import Run, read

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # benchmarks/ is no part of the installed package
    sys.path.insert(0, str(ROOT))


@pytest.fixture
def run() -> Run:
    """A run as a file holds it: every kind of row."""
    return read(Path(__file__).with_name("run.json"))
