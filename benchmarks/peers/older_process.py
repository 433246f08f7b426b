"""A program that runs a task with the library of another checkout, whenever it reads a line: see `older`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

checkout, task, folder, threads = sys.argv[1:]
sys.path[0] = checkout  # in front of every installed one

import torch  # noqa: E402

import acs_fast as acs  # noqa: E402

if not Path(acs.__file__).is_relative_to(checkout):
    sys.exit(f"{checkout} holds no acs_fast: {acs.__file__} was imported")

TASKS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "craig": lambda g, p, groups: acs.facility_location(g, p["budget"], groups=groups, backend="cpu"),
    "matching": lambda g, p, groups: acs.gradient_matching(g, p["budget"], groups=groups, backend="cpu"),
    "greedy": lambda g, p, groups: acs.facility_location(p["matrix"], p["budget"], metric="precomputed", backend="cpu"),
    "distances": lambda g, p, groups: acs.pairwise_distances(g),
}


def main() -> None:
    torch.set_num_threads(int(threads))
    problem = torch.load(Path(folder) / "problem.pt")
    g = acs.LastLayerGradients(problem["residuals"], problem["features"], bias=problem["bias"])
    groups = problem["labels"] if problem["groups"] > 1 else None
    answer: Any = None
    for line in sys.stdin:
        if line == "run\n":
            answer = None
            answer = TASKS[task](g, problem, groups)
        elif line == "save\n":
            parts = (answer,) if isinstance(answer, torch.Tensor) else (answer.indices, answer.weights)
            torch.save(parts, Path(folder) / "answer.pt")
        print("done", flush=True)


if __name__ == "__main__":
    main()
