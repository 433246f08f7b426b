"""Image classification data from usual places, in parts for training, validation and testing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from acs_fast._util.checks import check_count
from acs_fast._util.randomness import derived_generator
from acs_fast.data import class_names_of, labels_of
from acs_fast.training.files import DataError, find_idx, has_cifar, has_idx, read_cifar, read_cifar_names, read_idx
from acs_fast.training.images import Given, Images, ImageSet, checked_labels, from_arrays
from acs_fast.training.objects import call_with, find_object, names_object
from acs_fast.training.pictures import find_folders, read_folder, read_hub

VALIDATION_FRACTION, TEST_FRACTION = 0.15, 0.2
USUAL_EPS, GREY_EPS = 8 / 255, 0.1  # of coloured photographs, and of digits and clothes
SOURCES = (
    "'digits', a folder of IDX or CIFAR files or of pictures by class, an .npz, torchvision:NAME, hf:NAME_OR_FOLDER or "
    "module:factory"
)


@dataclass(frozen=True)
class Splits:
    """Data to train on, to choose checkpoints by, and to report on; `eps` is a usual radius for these images."""

    name: str
    train: ImageSet
    validation: ImageSet
    test: ImageSet
    classes: int
    eps: float


@dataclass(frozen=True)
class Found:
    """Training and test images of a source (no test images: some are held out), and the classes that it tells of.

    `is_mixed` where the source is known not to be sorted by class.
    """

    name: str
    train: ImageSet
    test: ImageSet | None = None
    classes: int = 0
    eps: float = USUAL_EPS
    is_mixed: bool = False


def load(source: str, limit: int | None = None, image_size: int | None = None) -> Splits:
    """Load a data set.

    Args:
        source: "digits" (bundled with scikit-learn); a folder of IDX files, of CIFAR-10 or CIFAR-100 python batches, or
            of pictures with a sub-folder for each class (also below `train` and `test`; read as they are asked for); an
            .npz with x_train, y_train, x_test, y_test (or x, y); "torchvision:NAME" (downloads to ./data); "hf:" and a
            name or folder of a Hugging Face dataset; or "module:factory" (also "file.py:factory"), called for (train,
            test) or one map-style dataset of (x, y).
        limit: keep at most so many training samples, at random but the same each time.
        image_size: height and width for pictures, by default those of the first.

    Raises:
        DataError: nothing usable there, a file that cannot be read, or an optional package that is missing.
    """
    if limit is not None:
        check_count("limit", limit, low=1)
    found = read(source, image_size)
    train, test = found.train, found.test
    if test is None:
        held_out = stratified(train.labels, TEST_FRACTION, derived_generator("npz"))
        train, test = train.part(~held_out), train.part(held_out)
    if not len(test):
        raise DataError(f"{source}: the test set must hold at least one image; got none")
    if train.shape != test.shape:
        raise DataError(f"{source}: training images are {list(train.shape)}, test images {list(test.shape)}")
    generator = derived_generator("split", len(train))
    if limit is not None and limit < len(train):
        train = train.part(torch.randperm(len(train), generator=generator)[:limit])
    held_out = stratified(train.labels, VALIDATION_FRACTION, generator)
    classes = max(int(max(train.labels.max(), test.labels.max())) + 1, found.classes)
    validation = train.part(held_out)
    if not found.is_mixed:
        validation, test = mixed(validation), mixed(test)
    return Splits(found.name, train.part(~held_out), validation, test, classes, found.eps)


def read(source: str, image_size: int | None = None) -> Found:
    """All images of a source, in its own order and undivided; arguments as in `load`."""
    size = None if image_size is None else (check_count("image_size", image_size, low=1),) * 2
    found = _read(source, size)
    if not len(found.train):
        raise DataError(f"{source}: the training set must hold at least one image; got none")
    return found


def mixed(images: ImageSet) -> ImageSet:
    """The same images in random order, always the same, so that the first few are a fair sample of all."""
    return images.part(torch.randperm(len(images), generator=derived_generator("mixed", len(images))))


def stratified(y: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    """[N] bool: the same fraction of every class (a class of one stays out)."""
    chosen = torch.zeros(len(y), dtype=torch.bool)
    for label in y.unique():
        members = (y == label).nonzero().flatten()
        picked = torch.randperm(len(members), generator=generator)[: round(fraction * len(members))]
        chosen[members[picked]] = True
    return chosen


def _read(source: str, size: tuple[int, int] | None) -> Found:
    kind, separator, rest = source.partition(":")
    if source == "digits":
        return Found("digits", *_digits(), classes=10, eps=GREY_EPS, is_mixed=True)
    if separator and kind == "torchvision":
        return Found(rest, *_torchvision(rest), is_mixed=True)
    if separator and kind == "hf":
        return Found(Path(rest).name, *read_hub(rest, size))
    path = Path(source).expanduser()
    if path.suffix == ".npz":
        return Found(path.stem, *_npz(path))
    if names_object(source):
        return Found(source, *_made(source))
    if not path.is_dir():
        raise DataError(f"--data must be {SOURCES}; got {source!r}")
    return _folder(path, size)


def _folder(path: Path, size: tuple[int, int] | None) -> Found:
    for folder in (path, *sorted(p for p in path.rglob("*") if p.is_dir() and len(p.relative_to(path).parts) < 4)):
        if has_idx(folder):
            return Found(path.name, _idx(folder, "train"), _idx(folder, "test"), eps=GREY_EPS, is_mixed=True)
        if has_cifar(folder):
            names = read_cifar_names(folder)
            train, test = (from_arrays(folder, *read_cifar(folder, split), names) for split in ("train", "test"))
            return Found(path.name, train, test, 10 if (folder / "data_batch_1").exists() else 100, is_mixed=True)
    folders = find_folders(path)
    if folders is None:
        raise DataError(
            f"{path}: holds neither IDX files (train-images-idx3-ubyte[.gz]) nor CIFAR python batches nor sub-folders "
            "of pictures"
        )
    pictures = read_folder(folders[0], size)
    others = None if folders[1] is None else read_folder(folders[1], size, pictures)
    return Found(path.name, pictures, others, len(pictures.class_names))


def _digits() -> tuple[Images, Images]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("--data digits needs scikit-learn: pip install 'acs_fast[train]'") from None
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16.0
    every = Images(x, torch.tensor(digits.target, dtype=torch.int64))
    held_out = stratified(every.y, 0.25, derived_generator("digits"))
    return every.part(~held_out), every.part(held_out)


def _idx(folder: Path, split: str) -> Images:
    x = read_idx(find_idx(folder, split, "images"), 3)
    return from_arrays(folder, x, read_idx(find_idx(folder, split, "labels"), 1))


def _npz(path: Path) -> tuple[Images, Images | None]:
    try:
        with path.open("rb") as file:
            arrays = dict(np.load(file, allow_pickle=False))
    except Exception as error:  # numpy and zipfile raise many kinds for broken archives
        raise DataError(f"{path}: cannot be read as .npz, it may be half-written ({error!r})") from error
    if {"x_train", "y_train", "x_test", "y_test"} <= arrays.keys():
        train, test = (from_arrays(path, arrays[f"x_{s}"], arrays[f"y_{s}"]) for s in ("train", "test"))
        return train, test
    if {"x", "y"} <= arrays.keys():
        return from_arrays(path, arrays["x"], arrays["y"]), None
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
    train, test = (
        from_arrays(f"torchvision:{name}", np.asarray(p.data), np.asarray(p.targets), class_names_of(p)) for p in parts
    )
    return train, test


def _made(source: str) -> tuple[ImageSet, ImageSet | None]:
    """What a user's factory gives: (train, test), {"train": ..., "test": ...}, or one dataset."""
    made = call_with(find_object(source, "--data"))
    if isinstance(made, dict):
        made = (made.get("train"), made.get("test"))
    train, test = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not hasattr(train, "__len__") or not hasattr(train, "__getitem__"):
        raise DataError(f"--data {source}: must return map-style datasets (train, test); got {type(made).__name__}")
    return _given(train, source), None if test is None else _given(test, source)


def _given(dataset: object, source: str) -> ImageSet:
    if isinstance(dataset, ImageSet):
        return dataset
    labels = labels_of(dataset).cpu().numpy()
    return Given(dataset, checked_labels(source, labels, len(labels)), source)
