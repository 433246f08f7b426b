"""The library of an older commit, from a checkout with its own compiled module, in a process of its own.

So both stand in one run, on the same input. What the other process does is timed as a whole; answers are fetched
afterwards.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from acs_fast.benchmark import Opponent, machine
from acs_fast.benchmark.problems import Problem
from benchmarks.child import Child

PROGRAM = Path(__file__).with_name("older_process.py")


def opponent(checkout: Path) -> Opponent:
    """Its row: the commit is in the title."""
    sha = machine.commit(checkout)["sha"]
    note = "in a process of its own, whose memory is not measured"
    options = {"checkout": str(checkout.resolve())}
    return Opponent(f"acs_fast of {sha}", "older", __name__, options, devices=("cpu",), note=note)


class Process:
    """A process of the older library, which holds the input of a task."""

    def __init__(self, task: str, problem: Problem, checkout: str) -> None:
        self.problem, self.folder = problem, tempfile.TemporaryDirectory()
        g = problem.g
        torch.save(
            {
                "residuals": g.residuals, "features": g.features, "bias": g.bias, "labels": problem.labels,
                "groups": len(problem.groups), "budget": problem.budget, "matrix": problem.matrix,
            },
            self.path("problem.pt"),
        )  # fmt: skip
        arguments = (str(PROGRAM), checkout, task, self.folder.name, str(torch.get_num_threads()))
        self.child = Child("the older library", *arguments)
        self.ask("hello")

    def path(self, name: str) -> Path:
        return Path(self.folder.name) / name

    def ask(self, command: str) -> None:
        """Wait until it is done."""
        self.child.tell(command)
        self.child.answer()

    def fetch(self) -> tuple[Tensor, ...]:
        """The last answer."""
        self.ask("save")
        answer: tuple[Tensor, ...] = torch.load(self.path("answer.pt"))
        return answer


class Answer:
    """An answer that lies in the other process until someone looks at it."""

    def __init__(self, process: Process) -> None:
        self.process = process

    @property
    def indices(self) -> Tensor:
        return self.process.fetch()[0]

    @property
    def weights(self) -> Tensor:
        return self.process.fetch()[1]

    def __getitem__(self, rows: Tensor) -> Tensor:
        return self.process.fetch()[0][rows]


_STARTED: dict[int, Process] = {}  # by the identity of the problem, which its process keeps


def _run(problem: Problem, checkout: str, task: str) -> Answer:
    if id(problem) not in _STARTED:
        _STARTED[id(problem)] = Process(task, problem, checkout)
    process = _STARTED[id(problem)]
    process.ask("run")
    return Answer(process)


craig, greedy, matching, distances = (partial(_run, task=task) for task in ("craig", "greedy", "matching", "distances"))
