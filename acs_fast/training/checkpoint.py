"""Checkpoints that are whole or not there, and that say whose they are."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and what is wrong."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Write to a temporary file first, so that an interrupt never leaves half a checkpoint."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load(path: Path, config: dict[str, Any] | None = None) -> dict[str, Any]:
    """Read a checkpoint, running nothing that it contains.

    Args:
        config: the settings that it must have been made with, where that matters.

    Raises:
        CheckpointError: missing, unreadable, no checkpoint of this program, or one of another run.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no checkpoint") from None
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path}: cannot be read as a checkpoint ({str(error).splitlines()[0]})") from error
    if not isinstance(state, dict) or not {"model", "config", "epoch"} <= state.keys():
        raise CheckpointError(f"{path}: is no checkpoint of acs-fast train")
    if config is not None:
        saved = state["config"]
        different = [f"{k} ({saved.get(k)!r} there, {v!r} here)" for k, v in config.items() if saved.get(k) != v]
        if different:
            raise CheckpointError(f"{path}: belongs to another run; these settings differ: {', '.join(different)}")
    return state
