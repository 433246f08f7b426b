"""Whole runs against a recording: order of samples, weights, picks and final parameters, resumed and not.

`python -m tests.test_recorded_runs` writes the recording again; do so only when a change of results is intended.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs

RECORDING = Path(__file__).with_name("recorded_runs.json")
RUNS = {
    "craig": "craig",
    "craig-global": acs.Craig(per_class=False),
    "craig-batch": acs.PerBatch(acs.Craig(), batch_size=8),
    "gradmatch": "gradmatch",
    "random": "random",
    "random-fixed": "random-fixed",
    "random-stratified": "random-stratified",
}
EPOCHS = 9


class Loop:
    """The README's loop on 96 small images in four classes."""

    def __init__(self, selector: str | acs.Selector) -> None:
        generator = torch.Generator().manual_seed(1)
        y = torch.randint(4, (96,), generator=generator)
        x = (0.5 * torch.rand(96, 1, 3, 3, generator=generator) + 0.1 * y.view(-1, 1, 1, 1)).clamp(0, 1)
        torch.manual_seed(2)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 4))
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.5, momentum=0.9)
        self.objective = acs.PGD(0.05, 0.02, 2, seed=3)
        self.coreset = acs.AdversarialCoreset(
            self.model, TensorDataset(x, y), self.objective, selector, 0.25, epochs=EPOCHS, period=2,
            warm_start=0.4, seed=4,
        )  # fmt: skip
        self.loader = DataLoader(self.coreset.dataset, batch_sampler=self.coreset.batch_sampler(8))
        self.seen: dict[str, Any] = {"order": [], "weights": [], "picks": []}

    def run(self, epochs: list[int]) -> None:
        for epoch in epochs:
            selected = self.coreset.step(epoch)
            if selected is not None:
                self.seen["picks"].append(selected.indices.tolist())
            for x, y, index in self.loader:
                x_adv = self.objective.perturb(self.model, x, y)
                weights = self.coreset.weights(index)
                loss = acs.weighted_mean(self.objective.per_sample_loss(self.model, x, x_adv, y), weights)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.seen["order"].append(index.tolist())
                self.seen["weights"].append(weights.tolist())

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "coreset": self.coreset.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.coreset.load_state_dict(state["coreset"])

    def result(self) -> dict[str, Any]:
        return {**self.seen, "parameters": [p.flatten().tolist() for p in self.model.parameters()]}


def run_whole(name: str) -> dict[str, Any]:
    loop = Loop(RUNS[name])
    loop.run(loop.coreset.epochs)
    return loop.result()


def run_resumed(name: str, path: Path, after: int) -> dict[str, Any]:
    """The same in two halves with a checkpoint between them, `after` trained epochs in."""
    first = Loop(RUNS[name])
    epochs = first.coreset.epochs
    first.run(epochs[:after])
    torch.save(first.state(), path)
    second = Loop(RUNS[name])
    second.load(torch.load(path, weights_only=True))
    second.seen = first.seen
    second.run(epochs[after:])
    return second.result()


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_as_recorded(name: str) -> None:
    wanted, found = json.loads(RECORDING.read_text())[name], run_whole(name)
    for part in ("order", "picks"):
        assert found[part] == wanted[part], part
    for part in ("weights", "parameters"):  # processors differ in the last bits
        for a, b in zip(found[part], wanted[part], strict=True):
            torch.testing.assert_close(torch.tensor(a), torch.tensor(b), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("after", [1, 3, 4])
@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_run_has_the_same_bits(name: str, after: int, tmp_path: Path) -> None:
    assert run_resumed(name, tmp_path / "state.pt", after) == run_whole(name)


if __name__ == "__main__":
    RECORDING.write_text(json.dumps({name: run_whole(name) for name in RUNS}) + "\n")
