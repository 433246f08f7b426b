"""One run of an experiment: the package's own training run, with the evaluation that the experiments use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from acs_fast._util.checks import check_count
from acs_fast._util.randomness import derived_seed
from acs_fast.evaluation import accuracy, robust_accuracy
from acs_fast.objectives import PGD
from acs_fast.training import checkpoint
from acs_fast.training.config import RunConfig
from acs_fast.training.data import Splits, load
from acs_fast.training.run import Run
from benchmarks.experiments.faults import faulty

RESULT = "result.json"


@dataclass(frozen=True)
class TrialConfig(RunConfig):
    """A `RunConfig`, and what only experiments need.

    Attributes:
        fault: a name from `faults.FAULTS`, or "" for the selector as it is.
        validation_limit: attack at most so many validation images after each epoch.
        test_steps, test_restarts: of the PGD attack on the test images, at random starts.
    """

    fault: str = ""
    validation_limit: int = 300
    test_steps: int = 20
    test_restarts: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("validation_limit", "test_steps", "test_restarts"):
            check_count(name, getattr(self, name), low=1)
        _ = self.selection  # checks the fault

    @property
    def selection(self) -> dict[str, Any]:
        arguments = super().selection
        if not self.fault:
            return arguments
        return {**arguments, "selector": faulty(self.fault, self.build_selector())}


class Trial(Run):
    """A run that also tests the averaged weights of the last epoch; clean and robust accuracy on the same images."""

    config: TrialConfig

    def __init__(self, config: TrialConfig, splits: Splits, folder: Path) -> None:
        super().__init__(config, splits, folder, torch.device("cpu"), show_progress=False)

    def _result(self) -> dict[str, Any]:
        result = super()._result()
        if self.config.evaluate_last:
            result["test"]["average"] = self._test(self.average)
        result["validation"] = [[e["epoch"], e["validation"]["robust"]] for e in self.log]
        result["selections"] = [_selection(e) for e in self.log if e["coreset"] is not None]
        return result

    def _test(self, model: nn.Module) -> dict[str, float]:
        config, images = self.config, self.splits.test.first(self.config.test_limit).loader()
        attack = PGD(config.radius, 2.5 * config.radius / config.test_steps, config.test_steps, config.norm)
        seed = derived_seed("test", config.seed)
        robust = robust_accuracy(model, images, attack, self.device, config.test_restarts, seed)
        return {"clean": accuracy(model, images, self.device), "robust": robust}


def _selection(entry: dict[str, Any]) -> dict[str, Any]:
    """An epoch's selection: when, how far from the full gradient, and what it cost."""
    stats = entry["coreset"]
    error = stats.get("relative_gradient_error")
    return {"epoch": entry["epoch"], "relative_gradient_error": error, "seconds": stats["seconds"]}


def run_trial(config: dict[str, Any], source: str, folder: Path) -> dict[str, Any]:
    """Run, or go on with what is left in the folder, and return the result that is also written there.

    Args:
        config: of a `TrialConfig`.
        source: where the data is; see `acs_fast.training.data.load`.
        folder: the run's own.
    """
    if (folder / RESULT).exists():
        return checkpoint.read_json(folder / RESULT, {"config", "test", "seconds"})
    settings = TrialConfig(**config)
    trial = Trial(settings, _splits(source, settings.limit), folder)
    if (folder / "checkpoint.pt").exists():
        trial.restore()
    return trial.train()


@lru_cache(maxsize=2)
def _splits(source: str, limit: int | None) -> Splits:
    return load(source, limit)
