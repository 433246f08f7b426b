"""Imported once by the server that every worker is forked from; nothing is computed here, so no thread exists yet."""

from __future__ import annotations

import contextlib
import importlib
import warnings

import benchmarks.worker  # noqa: F401
from benchmarks.peers import OPPONENTS

warnings.simplefilter("ignore")
for _module in sorted({opponent.module for opponent in OPPONENTS.values()}):
    with contextlib.suppress(ImportError):  # reported as a row by the runner
        importlib.import_module(f"benchmarks.peers.{_module}")
