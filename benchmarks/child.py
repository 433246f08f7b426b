"""A program that a worker starts, and that answers every line it is told with a line."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import ROOT


class Child(subprocess.Popen[str]):
    """A process of Python's; `name` is what is said of it when it has ended."""

    def __init__(self, name: str, *arguments: str) -> None:
        self.name = name
        super().__init__(
            [sys.executable, *arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def tell(self, command: str) -> None:
        """Say what to do, and do not wait."""
        assert self.stdin is not None
        self.stdin.write(f"{command}\n")
        self.stdin.flush()

    def answer(self) -> str:
        """Wait for the next line.

        Raises:
            RuntimeError: the process has ended.
        """
        assert self.stdout is not None
        line = self.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with code {self.wait()}")
        return line
