"""Trained models, rebuilt without their data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast.training import checkpoint, models
from acs_fast.training.checkpoint import CheckpointError
from acs_fast.training.config import RunConfig
from acs_fast.training.data import Splits
from acs_fast.training.files import DataError
from acs_fast.training.objects import refuse_code
from acs_fast.training.run import BEST


@dataclass(frozen=True)
class Restored:
    """A model in eval mode with the settings of its run; `shape` is (channels, height, width) of its images."""

    path: Path
    model: nn.Module
    config: RunConfig
    epoch: int
    shape: tuple[int, int, int]
    classes: int


def load(path: Path | str, model: nn.Module | str | None = None, device: torch.device | str = "cpu") -> nn.Module:
    """A trained model in eval mode; it takes pixels of [0, 1].

    Args:
        path: the folder of a run (its best.pt), of a job with one run, or a checkpoint: best.pt, or checkpoint.pt for
            its averaged weights.
        model: where the run trained a model of your own, that model or its "module:factory". A checkpoint alone is
            never allowed to name code that is run.
        device: where to put it.

    Raises:
        CheckpointError: missing, unreadable, not of `acs-fast train`, or with weights that do not fit.
    """
    return restore(Path(path), torch.device(device), model).model


def find(path: Path) -> Path:
    """The checkpoint behind a path: itself, or best.pt in a folder of a run or of a job with one run.

    Raises:
        CheckpointError: there is none, or more than one.
    """
    if not path.is_dir():
        return path
    found = [path / BEST] if (path / BEST).is_file() else sorted(path.glob(f"*/{BEST}"))
    if not found:
        raise CheckpointError(f"{path}: there is no {BEST} in it (nor one folder below)")
    if len(found) > 1:
        raise CheckpointError(f"{path}: holds {len(found)} runs; name one: {', '.join(str(p.parent) for p in found)}")
    return found[0]


def restore(path: Path, device: torch.device, model: nn.Module | str | None = None) -> Restored:
    """The model of best.pt, or the averaged weights of checkpoint.pt, and what is known of its run; see `load`."""
    path = find(path)
    state = checkpoint.load(path)
    config, weights = saved_config(path, state["config"]), _weights(path, state)
    shape, classes = _made_for(path, state)
    if type(state["epoch"]) is not int:
        raise CheckpointError(f"{path}: does not say after which epoch it was written")
    if not isinstance(model, nn.Module):
        model = _rebuilt(path, config, model, shape[0], classes)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: its weights do not fit its settings ({reason})") from None
    bad = [name for name, w in weights.items() if w.is_floating_point() and not bool(torch.isfinite(w).all())]
    if bad:
        raise CheckpointError(f"{path}: weights must be finite; NaN or infinity in {', '.join(bad[:3])}")
    return Restored(path, model.to(device).eval(), config, state["epoch"], shape, classes)


def check_fits(restored: Restored, splits: Splits) -> None:
    """Raise DataError unless images and labels are of the kind in the model's training."""
    (channels, *size), (expected_channels, *expected_size) = splits.test.shape, restored.shape
    if channels != expected_channels:
        raise DataError(f"--data {splits.name}: the model takes {expected_channels} channel(s); got {channels}")
    if size != expected_size:
        expected, got = (" x ".join(map(str, s)) for s in (expected_size, size))
        raise DataError(f"--data {splits.name}: the model was trained on images of {expected} pixels; got {got}")
    if splits.classes != restored.classes:
        raise DataError(f"--data {splits.name}: the model has {restored.classes} classes; got {splits.classes}")


def _rebuilt(path: Path, config: RunConfig, given: str | None, channels: int, classes: int) -> nn.Module:
    if given is None:
        refuse_code(path, "model", config.model)
    unknown = torch.zeros(channels), torch.ones(channels)  # the weights say what they are
    try:
        return models.build(given or config.model, unknown, classes, config.width)
    except DataError as error:
        raise CheckpointError(f"{path}: {error}") from error


def saved_config(path: Path, saved: Any) -> RunConfig:
    """Settings out of a file. Raises CheckpointError where they are not those of this version."""
    try:
        return RunConfig(**saved)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its settings are not those of this version of acs-fast ({error})") from None


def _weights(path: Path, state: dict[str, Any]) -> dict[str, Tensor]:
    average = state.get("average")
    weights = average.get("model") if isinstance(average, dict) else state["model"]
    named = isinstance(weights, dict) and all(isinstance(k, str) and isinstance(w, Tensor) for k, w in weights.items())
    if not named or not weights:
        raise CheckpointError(f"{path}: holds no weights of a model")
    return weights  # type: ignore[no-any-return]


def _made_for(path: Path, state: dict[str, Any]) -> tuple[tuple[int, int, int], int]:
    shape, classes = state.get("shape"), state.get("classes")
    numbers = isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)
    if not numbers or type(classes) is not int or classes < 1:
        raise CheckpointError(f"{path}: does not say what images and how many classes its model is for")
    return (shape[0], shape[1], shape[2]), classes  # type: ignore[index]
