"""Checkpoints, written whole or not at all, with the settings of their run."""

from __future__ import annotations

import glob
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

LOCK = ".lock"


class CheckpointError(ValueError):
    """An unusable file or folder of a run; the message names it and its fault."""


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all: whatever interrupts it, the one before stays.

    Raises:
        CheckpointError: it cannot be written (a full disk, a read-only folder); names the file and the reason.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getbuffer())


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all. Raises CheckpointError as `save` does."""
    write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Replace a file in one step: a temporary file beside it, flushed to the disk, takes its name.

    Temporary files of writers that were killed are removed.

    Raises:
        CheckpointError: it cannot be written; what was there before stays, and nothing else is left behind.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        for left in path.parent.glob(f"{glob.escape(path.name)}.*.partial"):
            left.unlink(missing_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _flush_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: cannot be written ({error.strerror or error}); nothing was changed") from error


def append_line(path: Path, line: str) -> None:
    """Add a line to a file. Raises CheckpointError where it cannot be written."""
    try:
        with path.open("a") as file:
            file.write(line + "\n")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error.strerror or error})") from error


def _flush_folder(folder: Path) -> None:
    """Make a rename durable, where the system can flush folders."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other run out of a folder, which is made where it is missing. A run that is killed leaves no lock.

    Raises:
        CheckpointError: another process works in it, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("w")
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written ({error.strerror or error})") from error
    with file:
        if not _lock(file.fileno()):
            raise CheckpointError(f"{folder}: another run is at work in it; wait for it, or name another folder")
        yield


def _lock(descriptor: int) -> bool:
    """Whether the lock was to be had; the system takes it back when the process ends. True where there are none."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


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
    """Read a checkpoint without running anything in it.

    Args:
        config: the settings that it must have been made with, where that matters.

    Raises:
        CheckpointError: missing, unreadable, no checkpoint of this program, or one of another run.
    """
    state = read(path)
    if not isinstance(state, dict) or not {"model", "config", "epoch"} <= state.keys():
        raise CheckpointError(f"{path}: is no checkpoint of acs-fast train")
    saved = state["config"]
    if not isinstance(saved, dict):
        raise CheckpointError(f"{path}: is no checkpoint of acs-fast train, its settings are unreadable")
    wanted = config or {}
    different = [f"{k} ({saved.get(k)!r} there, {v!r} here)" for k, v in wanted.items() if saved.get(k) != v]
    if different:
        raise CheckpointError(f"{path}: belongs to another run; these settings differ: {', '.join(different)}")
    return state


def read(path: Path) -> Any:
    """What `torch.save` wrote, running nothing that it contains. Raises CheckpointError: missing or unreadable."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no checkpoint") from None
    except Exception as error:  # a broken archive or pickle raises anything
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f"{path}: cannot be read as a checkpoint ({reason})") from error
