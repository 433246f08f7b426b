"""The model that a checkpoint holds, rebuilt without the data that it was trained on."""

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

AVERAGED = "module."  # where an averaged model keeps the weights


@dataclass(frozen=True)
class Restored:
    """A model in eval mode with the settings of its run; `size` is the height and width it was trained on, if known."""

    path: Path
    model: nn.Module
    config: RunConfig
    epoch: int
    channels: int
    classes: int
    size: tuple[int, int] | None


def find(path: Path) -> Path:
    """The checkpoint that a path means: itself, or best.pt in a folder of a run or of a job with one run.

    Raises:
        CheckpointError: there is none, or more than one.
    """
    if not path.is_dir():
        return path
    found = [path / "best.pt"] if (path / "best.pt").is_file() else sorted(path.glob("*/best.pt"))
    if not found:
        raise CheckpointError(f"{path}: there is no best.pt in it (nor one folder below)")
    if len(found) > 1:
        raise CheckpointError(f"{path}: holds {len(found)} runs; name one: {', '.join(str(p.parent) for p in found)}")
    return found[0]


def restore(path: Path, device: torch.device) -> Restored:
    """The model of best.pt, or the averaged weights of checkpoint.pt.

    Raises:
        CheckpointError: missing, unreadable, not of this program, or with weights that do not fit its settings.
    """
    path = find(path)
    state = checkpoint.load(path)
    config = _config(path, state["config"])
    weights = _weights(path, state)
    channels, classes = _channels(path, weights), _classes(path, weights)
    model = models.build(config.model, torch.zeros(2, channels, 1, 1), classes, config.width)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: its weights do not fit its settings ({reason})") from None
    bad = [name for name, w in weights.items() if w.is_floating_point() and not bool(torch.isfinite(w).all())]
    if bad:
        raise CheckpointError(f"{path}: weights must be finite; NaN or infinity in {', '.join(bad[:3])}")
    size = state.get("image_size")
    known = (int(size[0]), int(size[1])) if isinstance(size, (list, tuple)) and len(size) == 2 else None
    return Restored(path, model.to(device).eval(), config, int(state["epoch"]), channels, classes, known)


def check_fits(restored: Restored, splits: Splits) -> None:
    """Raises DataError unless images and labels are of the kind that the model was trained on."""
    channels, *size = splits.test.x.shape[1:]
    if channels != restored.channels:
        raise DataError(f"--data {splits.name}: the model takes {restored.channels} channel(s); got {channels}")
    if restored.size is not None and tuple(size) != restored.size:
        expected, got = (" x ".join(map(str, s)) for s in (restored.size, size))
        raise DataError(f"--data {splits.name}: the model was trained on images of {expected} pixels; got {got}")
    if splits.classes != restored.classes:
        raise DataError(f"--data {splits.name}: the model has {restored.classes} classes; got {splits.classes}")


def _config(path: Path, saved: Any) -> RunConfig:
    try:
        return RunConfig(**saved)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its settings are not those of this version of acs-fast ({error})") from None


def _weights(path: Path, state: dict[str, Any]) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = state["model"]
    if "average" in state and isinstance(state["average"], dict):
        weights = {k.removeprefix(AVERAGED): v for k, v in state["average"].items() if k.startswith(AVERAGED)}
    named = isinstance(weights, dict) and all(isinstance(k, str) and isinstance(w, Tensor) for k, w in weights.items())
    if not named or not weights:
        raise CheckpointError(f"{path}: holds no weights of a model")
    return weights


def _channels(path: Path, weights: dict[str, Tensor]) -> int:
    """The first layer normalises every channel."""
    mean = next((w for name, w in weights.items() if name.endswith("mean") and w.dim() == 4), None)
    if mean is None:
        raise CheckpointError(f"{path}: its weights are not those of a model of acs-fast train")
    return mean.shape[1]


def _classes(path: Path, weights: dict[str, Tensor]) -> int:
    """The last linear layer has a row for every class."""
    heads = [w for w in weights.values() if w.dim() == 2]
    if not heads:
        raise CheckpointError(f"{path}: its weights have no linear layer to take the classes from")
    return heads[-1].shape[0]
