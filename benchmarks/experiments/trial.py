"""One run of an experiment: a run of the library's comparison, with the evaluation that the experiments use."""

from __future__ import annotations

import os
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
from acs_fast.selection import Clusters, Selector
from acs_fast.training import Run, RunConfig, Splits, load_data, run_one
from benchmarks.experiments.faults import faulty

VARIABLE = "ACS_FAST_FASHION_MNIST"
SYSTEM = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist


@dataclass(frozen=True)
class TrialConfig(RunConfig):
    """A `RunConfig`, and what only experiments need.

    Attributes:
        fault: a name from `faults.FAULTS`, or "" for the selector as it is.
        strata: "clusters" draws one member of every cluster of CRAIG's, which counts as all of them.
        test_steps, test_restarts: of the PGD attack on the test images, at random starts.
    """

    fault: str = ""
    strata: bool = False
    test_steps: int = 20
    test_restarts: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("test_steps", "test_restarts"):
            check_count(name, getattr(self, name), low=1)
        _ = self.selection  # checks the fault

    def run(self, source: str, folder: Path) -> dict[str, Any]:
        """The result of the run: read, gone on with, or begun; arguments as in `run_trial`."""
        return self.run_on(_splits(source, self.limit), folder, Trial)

    def run_on(self, splits: Splits, folder: Path, kind: type[Run]) -> dict[str, Any]:
        """`run` on these data."""
        return run_one(self, splits, folder, torch.device("cpu"), quiet=True, kind=kind)

    def build_selector(self) -> Selector:
        return Clusters(None, weights="size") if self.strata else super().build_selector()

    @property
    def selection(self) -> dict[str, Any]:
        arguments = super().selection
        return {**arguments, "selector": faulty(self.fault, self.build_selector())} if self.fault else arguments


class Trial(Run):
    """A run that also tests the averaged weights of the last epoch; clean and robust accuracy on the same images."""

    config: TrialConfig

    def _result(self) -> dict[str, Any]:
        result = super()._result()
        if self.config.evaluate_last:
            result["test"]["average"] = self._test(self.average)
        result["validation"] = [[e["epoch"], e["validation"]["robust"]] for e in self.log]
        return result

    def _test(self, model: nn.Module) -> dict[str, float]:
        config, images = self.config, self.splits.test.first(self.config.test_limit).loader()
        attack = PGD(config.radius, 2.5 * config.radius / config.test_steps, config.test_steps, config.norm)
        seed = derived_seed("test", config.seed)
        robust = robust_accuracy(model, images, attack, self.device, config.test_restarts, seed)
        return {"clean": accuracy(model, images, self.device), "robust": robust}


def run_trial(config: TrialConfig, source: str, folder: Path) -> dict[str, Any]:
    """The result of a run in this process, on one thread.

    Args:
        source: where the data is; see `acs_fast.training.load_data`.
        folder: the run's own.
    """
    torch.set_num_threads(1)
    return config.run(source, folder)


@lru_cache(maxsize=2)
def _splits(source: str, limit: int | None) -> Splits:
    return load_data(source, limit)


def source(given: str | None) -> tuple[str, str]:
    """What to load, and the name under which it stands in results.

    Args:
        given: a folder, or "digits"; None for the folder that the environment variable names, or the system's.

    Raises:
        ValueError: there is no such folder.
    """
    if given == "digits":
        return "digits", "digits"
    folder = Path(given or os.environ.get(VARIABLE) or SYSTEM).expanduser()
    if not folder.is_dir():
        raise ValueError(
            f"--data must be 'digits' or a folder with the IDX files of Fashion-MNIST (or set {VARIABLE}, or install "
            f"Debian's dataset-fashion-mnist); got {folder}"
        )
    return str(folder.resolve()), "fashion-mnist"
