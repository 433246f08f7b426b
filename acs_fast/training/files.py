"""Readers of IDX files and CIFAR python batches; nothing in a file is ever run."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

IDX_NAMES = {"train": "train", "test": "t10k"}


class DataError(ValueError):
    """Unusable data; the message names the file and its fault."""


def find_idx(folder: Path, split: str, kind: str) -> Path:
    """The IDX file of a split ("train" or "test") and kind ("images" or "labels"). Raises DataError: there is none."""
    code = "idx3" if kind == "images" else "idx1"
    stems = [f"{IDX_NAMES[split]}-{kind}{sep}{code}-ubyte{gz}" for sep in "-." for gz in ("", ".gz")]
    found = next((folder / s for s in stems if (folder / s).is_file()), None)
    if found is None:
        raise DataError(f"{folder}: no {IDX_NAMES[split]}-{kind} file beside the others")
    return found


def has_idx(folder: Path) -> bool:
    """Whether a folder holds training images as an IDX file."""
    try:
        return find_idx(folder, "train", "images").is_file()
    except DataError:
        return False


def has_cifar(folder: Path) -> bool:
    """Whether a folder holds CIFAR-10 or CIFAR-100 python batches."""
    return (folder / "data_batch_1").exists() or ((folder / "train").is_file() and (folder / "meta").exists())


def read_idx(path: Path, dims: int) -> np.ndarray:
    """An IDX file of unsigned bytes with `dims` dimensions, gzipped or not.

    Raises:
        DataError: unreadable, of another type, or shorter than its header says.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read, it may be half-written ({error!r})") from error
    header = 4 + 4 * dims
    if len(raw) < header or raw[:4] != bytes([0, 0, 8, dims]):
        raise DataError(f"{path}: is no IDX file of unsigned bytes with {dims} dimensions")
    shape = struct.unpack(f">{dims}I", raw[4:header])
    expected = int(np.prod(shape))
    if len(raw) - header != expected:
        raise DataError(
            f"{path}: half-written? Its header promises {expected} bytes of data, {len(raw) - header} are there"
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def read_cifar(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 3, 32, 32] and labels [N] of a folder of CIFAR-10 or CIFAR-100 python batches.

    Raises:
        DataError: a batch is missing, unreadable or holds something else.
    """
    ten = (folder / "data_batch_1").exists()
    names = ([f"data_batch_{i}" for i in range(1, 6)] if split == "train" else ["test_batch"]) if ten else [split]
    key = b"labels" if ten else b"fine_labels"
    images, labels = [], []
    for path in (folder / name for name in names):
        batch = _unpickle(path)
        try:
            images.append(np.asarray(batch[b"data"]).reshape(-1, 3, 32, 32).astype(np.uint8))
            labels.append(np.asarray(batch[key], dtype=np.int64))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: is no CIFAR python batch ({error!r})") from error
    return np.concatenate(images), np.concatenate(labels)


def read_cifar_names(folder: Path) -> tuple[str, ...]:
    """Names of the classes of a folder of CIFAR-10 or CIFAR-100 python batches; empty without the file that has them.

    Raises:
        DataError: that file is unreadable or holds something else.
    """
    ten = (folder / "data_batch_1").exists()
    path, key = (folder / "batches.meta", b"label_names") if ten else (folder / "meta", b"fine_label_names")
    if not path.exists():
        return ()
    try:
        return tuple(name.decode() for name in _unpickle(path)[key])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: holds no names of CIFAR's classes ({error!r})") from error


class _ArraysOnly(pickle.Unpickler):
    """Numpy arrays and plain containers; anything else in the file is refused."""

    ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype", "_frombuffer", "encode"})

    def find_class(self, module: str, name: str) -> Any:
        if name in self.ALLOWED and module.split(".")[0] in ("numpy", "_codecs"):
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"refused to load {module}.{name}")


def _unpickle(path: Path) -> Any:
    try:
        return _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except Exception as error:  # a broken pickle raises anything
        raise DataError(f"{path}: cannot be read as a CIFAR python batch ({error!r})") from error
