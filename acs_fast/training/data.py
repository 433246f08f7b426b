"""Image classification data from where people have it, as tensors of pixels in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acs_fast._util.checks import check_count
from acs_fast._util.randomness import derived_generator
from acs_fast.training.files import DataError, read_cifar, read_idx

VALIDATION_FRACTION = 0.15
IDX_NAMES = {"train": "train", "test": "t10k"}


@dataclass(frozen=True)
class Images:
    """x [N, channels, height, width] in [0, 1], y [N]."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: Tensor) -> Images:
        return Images(self.x[index], self.y[index])

    def first(self, n: int) -> Images:
        """The first n images."""
        return Images(self.x[:n], self.y[:n])


@dataclass(frozen=True)
class Splits:
    """Data to train on, to choose checkpoints by, and to report on; `eps` is a usual radius for these images."""

    name: str
    train: Images
    validation: Images
    test: Images
    classes: int
    eps: float


def load(source: str, limit: int | None = None) -> Splits:
    """Load a data set.

    Args:
        source: "digits" (bundled with scikit-learn); a folder of IDX files, of CIFAR-10 or CIFAR-100 python batches; an
            .npz with x_train, y_train, x_test, y_test (or x, y); or "torchvision:NAME" (downloads to ./data).
        limit: keep at most so many training samples, at random but the same each time.

    Raises:
        DataError: nothing usable there, a file that cannot be read, or an optional package that is missing.
    """
    if limit is not None:
        check_count("limit", limit, low=1)
    name, train, test, classes, eps = _read(source)
    if train.x.shape[1:] != test.x.shape[1:]:
        raise DataError(
            f"{source}: training images are {list(train.x.shape[1:])}, test images {list(test.x.shape[1:])}"
        )
    for part, images in (("training", train), ("test", test)):
        if not len(images):
            raise DataError(f"{source}: the {part} set must hold at least one image; got none")
    generator = derived_generator("split", len(train))
    if limit is not None and limit < len(train):
        train = train[torch.randperm(len(train), generator=generator)[:limit]]
    held_out = _stratified(train.y, VALIDATION_FRACTION, generator)
    found = int(max(train.y.max(), test.y.max())) + 1
    return Splits(name, train[~held_out], train[held_out], test, max(found, classes), eps)


def _read(source: str) -> tuple[str, Images, Images, int, float]:
    """Name, training and test images, number of classes where the format says it (else 0), usual eps."""
    if source == "digits":
        return "digits", *_digits(), 10, 0.1
    if source.startswith("torchvision:"):
        return source.removeprefix("torchvision:"), *_torchvision(source.removeprefix("torchvision:")), 0, 8 / 255
    path = Path(source).expanduser()
    if path.suffix == ".npz":
        return path.stem, *_npz(path), 0, 8 / 255
    if not path.is_dir():
        raise DataError(
            f"--data must be 'digits', an existing folder of IDX or CIFAR files, an .npz or 'torchvision:NAME'; "
            f"got {source!r}"
        )
    for folder in (path, *sorted(p for p in path.rglob("*") if p.is_dir())):
        if _idx_file(folder, "train", "images") is not None:
            return path.name, _idx(folder, "train"), _idx(folder, "test"), 0, 0.1
        if (folder / "data_batch_1").exists() or ((folder / "train").is_file() and (folder / "meta").exists()):
            train, test = (_images(folder, *read_cifar(folder, split)) for split in ("train", "test"))
            return path.name, train, test, 10 if (folder / "data_batch_1").exists() else 100, 8 / 255
    raise DataError(f"{path}: holds neither IDX files (train-images-idx3-ubyte[.gz]) nor CIFAR python batches")


def _digits() -> tuple[Images, Images]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("--data digits needs scikit-learn: pip install 'acs_fast[train]'") from None
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16.0
    y = torch.tensor(digits.target, dtype=torch.int64)
    held_out = _stratified(y, 0.25, derived_generator("digits"))
    return Images(x[~held_out], y[~held_out]), Images(x[held_out], y[held_out])


def _idx_file(folder: Path, split: str, kind: str) -> Path | None:
    code = "idx3" if kind == "images" else "idx1"
    stems = [f"{IDX_NAMES[split]}-{kind}{sep}{code}-ubyte{gz}" for sep in "-." for gz in ("", ".gz")]
    return next((folder / s for s in stems if (folder / s).is_file()), None)


def _idx(folder: Path, split: str) -> Images:
    arrays = []
    for kind, dims in (("images", 3), ("labels", 1)):
        path = _idx_file(folder, split, kind)
        if path is None:
            raise DataError(f"{folder}: no {IDX_NAMES[split]}-{kind} file beside the others")
        arrays.append(read_idx(path, dims))
    return _images(folder, arrays[0][:, None], arrays[1])


def _npz(path: Path) -> tuple[Images, Images]:
    try:
        with path.open("rb") as file:
            arrays = dict(np.load(file, allow_pickle=False))
    except Exception as error:  # numpy and zipfile raise many kinds for broken archives
        raise DataError(f"{path}: cannot be read as .npz, it may be half-written ({error!r})") from error
    if {"x_train", "y_train", "x_test", "y_test"} <= arrays.keys():
        return tuple(_images(path, arrays[f"x_{s}"], arrays[f"y_{s}"]) for s in ("train", "test"))  # type: ignore[return-value]
    if {"x", "y"} <= arrays.keys():
        every = _images(path, arrays["x"], arrays["y"])
        held_out = _stratified(every.y, 0.2, derived_generator("npz"))
        return every[~held_out], every[held_out]
    raise DataError(f"{path}: must hold x_train, y_train, x_test, y_test or x, y; got {', '.join(arrays) or 'nothing'}")


def _torchvision(name: str) -> tuple[Images, Images]:
    try:
        import torchvision.datasets as datasets
    except Exception as error:  # a torchvision of another torch build fails in many ways
        raise DataError(
            f"--data torchvision:{name} needs a torchvision that imports beside this torch ({error})"
        ) from None
    kind = getattr(datasets, name, None)
    if kind is None:
        raise DataError(f"--data torchvision:{name}: torchvision.datasets has no {name}")
    parts = [kind("data", train=train, download=True) for train in (True, False)]
    train, test = (_images(f"torchvision:{name}", np.asarray(p.data), np.asarray(p.targets)) for p in parts)
    return train, test


def _images(source: Path | str, x: np.ndarray, y: np.ndarray) -> Images:
    """Images of any usual layout as [N, channels, height, width] in [0, 1], and their labels, all checked."""
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[-1] in (1, 3) and x.shape[1] not in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    if x.ndim != 4:
        raise DataError(f"{source}: images must be [N, height, width] or with channels; got shape {list(x.shape)}")
    if y.size != len(x) or max(y.shape, default=1) != y.size:
        raise DataError(f"{source}: needs one label for each of {len(x)} images; got labels of shape {list(y.shape)}")
    if y.dtype.kind not in "iuf" or (y != np.floor(y)).any() or (y < 0).any():
        raise DataError(f"{source}: labels must be integers >= 0; got {y.dtype} such as {y.reshape(-1)[:3].tolist()}")
    pixels = torch.from_numpy(np.array(x, dtype=np.float32, order="C"))  # a copy: files are read-only
    if x.dtype.kind in "iu":
        pixels /= 255.0
    if len(pixels) and not (float(pixels.min()) >= 0.0 and float(pixels.max()) <= 1.0):
        low, high = float(x.min()), float(x.max())
        raise DataError(f"{source}: images must be bytes or floats in [0, 1]; got [{low:.3g}, {high:.3g}]")
    return Images(pixels, torch.from_numpy(y.reshape(-1).astype(np.int64)))


def _stratified(y: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """[N] bool: the same fraction of every class (a class of one stays out)."""
    chosen = torch.zeros(len(y), dtype=torch.bool)
    for label in y.unique():
        members = (y == label).nonzero().flatten()
        picked = torch.randperm(len(members), generator=generator)[: round(fraction * len(members))]
        chosen[members[picked]] = True
    return chosen


def loader_arguments(device: torch.device) -> dict[str, Any]:
    """For a DataLoader over tensors in memory: whole batches at a time."""
    return {"batch_size": None, "pin_memory": device.type == "cuda"}
