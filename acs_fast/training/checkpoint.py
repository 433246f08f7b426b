"""Checkpoints that are whole or not there, and that say whose they are."""

from __future__ import annotations

import json
import os
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


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(partial, path)


def read_json(path: Path, keys: set[str]) -> dict[str, Any]:
    """Read a JSON object that has certain keys. Raises CheckpointError when it cannot be read or lacks them."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, dict) or not keys <= content.keys():
        raise CheckpointError(f"{path}: was not written by acs-fast train")
    return content


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
    except Exception as error:  # a broken archive or pickle raises anything
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{path}: cannot be read as a checkpoint ({reason})") from error
    if not isinstance(state, dict) or not {"model", "config", "epoch"} <= state.keys():
        raise CheckpointError(f"{path}: is no checkpoint of acs-fast train")
    if config is not None:
        saved = state["config"]
        if not isinstance(saved, dict):
            raise CheckpointError(f"{path}: is no checkpoint of acs-fast train, its settings are unreadable")
        different = [f"{k} ({saved.get(k)!r} there, {v!r} here)" for k, v in config.items() if saved.get(k) != v]
        if different:
            raise CheckpointError(f"{path}: belongs to another run; these settings differ: {', '.join(different)}")
    return state
