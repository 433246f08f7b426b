"""All training images of Fashion-MNIST as one selection problem over their pixels."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import torch

from acs_fast import LastLayerGradients
from acs_fast.benchmark import Opponent
from acs_fast.benchmark.problems import OpCase, Problem, Solving, quality
from acs_fast.selection.groups import partition
from acs_fast.training import read_data
from benchmarks.experiments import trial


@dataclass(frozen=True)
class PixelCase(OpCase):
    """A case over images, where there are any: see `benchmarks.experiments.trial.source`."""

    def prepare(self, opponent: Opponent, device: str) -> Solving:
        images = read_data(trial.source(None)[0]).train
        pixels = images.read(list(range(self.n))).flatten(1).to(device)
        g = LastLayerGradients(torch.ones(len(pixels), 1, device=device), pixels, bias=False)
        labels = torch.zeros(len(g), dtype=torch.int64, device=device)
        problem = Problem(g, labels, partition(labels, len(g), g.device), [self.budget], self.budget)
        return PixelSolving(self, problem, opponent.solver(self.task))


@dataclass(frozen=True)
class PixelSolving(Solving):
    """Judged by its picks too, which are the same whatever memory was allowed."""

    def judge(self, answer: object) -> dict[str, float]:
        picks = answer.indices.cpu()  # type: ignore[attr-defined]
        return quality(self.case, self.problem, answer) | {"checksum": float(zlib.crc32(picks.numpy().tobytes()))}
