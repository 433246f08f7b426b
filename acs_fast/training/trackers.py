"""Trackers of a run's figures: TensorBoard, Weights & Biases or MLflow."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from acs_fast._util.checks import check_choice

TRACKED = "tracked.txt"  # in the folder of a run: what its tracker calls it


class Tracker(Protocol):
    """Takes the figures of an epoch."""

    def log(self, figures: dict[str, float], step: int) -> None:
        """Record figures by name at a step."""

    def close(self) -> None:
        """Write what is still held back."""


class NoTracker:
    """Keeps nothing."""

    def log(self, figures: dict[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in the folder of the run."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self._writer = _module("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(folder))
        self._writer.add_text("config", "\n".join(f"    {k}: {v}" for k, v in config.items()))

    def log(self, figures: dict[str, float], step: int) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WandB:
    """A run of Weights & Biases, named like the folder; a resumed one goes on."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        wandb = _module("wandb", "wandb")
        self._run = wandb.init(dir=str(folder), name=folder.name, config=config, id=_begun(folder), resume="allow")
        _keep(folder, self._run.id)

    def log(self, figures: dict[str, float], step: int) -> None:
        self._run.log(figures, step=step)

    def close(self) -> None:
        self._run.finish()


class MLflow:
    """A run of MLflow, named like the folder, wherever MLflow is set up to keep it; a resumed one goes on."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self._mlflow = _module("mlflow", "mlflow")
        run = self._mlflow.start_run(run_id=_begun(folder), run_name=folder.name)
        _keep(folder, run.info.run_id)
        self._mlflow.log_params(config)

    def log(self, figures: dict[str, float], step: int) -> None:
        self._mlflow.log_metrics(figures, step=step)

    def close(self) -> None:
        self._mlflow.end_run()


_KINDS: dict[str, Callable[[Path, dict[str, Any]], Tracker]] = {
    "none": lambda folder, config: NoTracker(),
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
}

TRACKERS = tuple(_KINDS)


def open_tracker(name: str, folder: Path, config: dict[str, Any]) -> Tracker:
    """The tracker of that name for a run in `folder` with these settings.

    Raises:
        ValueError: unknown name.
        RuntimeError: its package is not installed.
    """
    return _KINDS[check_choice("log", name, TRACKERS)](folder, config)


def _begun(folder: Path) -> str | None:
    """What the tracker calls the run in this folder, once it has begun."""
    path = folder / TRACKED
    return path.read_text() if path.exists() else None


def _keep(folder: Path, name: str) -> None:
    (folder / TRACKED).write_text(name)


def _module(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RuntimeError(
            f"--log needs {package}, which cannot be imported ({error}): pip install {package}"
        ) from None
