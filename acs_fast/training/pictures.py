"""Picture files by class folder, and columns of Hugging Face datasets, read on demand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acs_fast.data import class_names_of, stored_labels, unpack
from acs_fast.training.files import DataError
from acs_fast.training.images import ImageSet, checked_labels, pixels_of

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
TRAIN_NAMES, TEST_NAMES = ("train", "training"), ("test", "val", "valid", "validation")


class PictureSet(ImageSet):
    """Pictures decoded on demand, all brought to one size.

    Args:
        labels: [N].
        open_picture: gives the PIL picture of a number.
        name: of the picture with a number, for messages.
        size: height and width; None for those of the first picture.
        channels: 1 or 3; None for those of the first picture.
        class_names: see `ImageSet`.
    """

    def __init__(
        self,
        labels: Tensor,
        open_picture: Callable[[int], Any],
        name: Callable[[int], str],
        size: tuple[int, int] | None,
        channels: int | None = None,
        class_names: tuple[str, ...] = (),
    ) -> None:
        self.open_picture, self.name = open_picture, name
        first = self._opened(0)
        channels = channels or (1 if first.mode in ("1", "L", "I;16") else 3)
        super().__init__(labels, (channels, *(size or (first.height, first.width))), class_names)

    def read(self, index: list[int]) -> Tensor:
        return torch.stack([self._pixels(i) for i in index])

    def names(self, index: list[int]) -> list[str] | None:
        return [self.name(i) for i in index]

    def _pixels(self, i: int) -> Tensor:
        channels, height, width = self.shape
        picture = self._opened(i).convert("L" if channels == 1 else "RGB")
        if (picture.height, picture.width) != (height, width):
            picture = picture.resize((width, height), resample=2)  # bilinear
        array = np.asarray(picture, dtype=np.float32).reshape(height, width, channels)
        return torch.from_numpy(array).permute(2, 0, 1).contiguous() / 255.0

    def _opened(self, i: int) -> Any:
        try:
            picture = self.open_picture(i)
            picture.load()
        except Exception as error:  # PIL raises many kinds for broken files
            raise DataError(f"{self.name(i)}: cannot be read as a picture ({error})") from error
        return picture


def find_folders(path: Path) -> tuple[Path, Path | None] | None:
    """The folders of training and test classes under a path; None where no folder holds pictures by class."""
    for name in TRAIN_NAMES:
        if _class_folders(path / name):
            tests = (path / other for other in TEST_NAMES)
            return path / name, next((test for test in tests if _class_folders(test)), None)
    return (path, None) if _class_folders(path) else None


def read_folder(folder: Path, size: tuple[int, int] | None, like: ImageSet | None = None) -> PictureSet:
    """Pictures of a folder with one sub-folder for each class.

    Args:
        size: see `PictureSet`.
        like: take size, channels and classes of this set instead; other classes are an error.

    Raises:
        DataError: no pictures, an unknown class, or a picture that cannot be read.
    """
    pil = _pil()
    folders = _class_folders(folder)
    names = tuple(f.name for f in folders) if like is None else like.class_names
    unknown = sorted({f.name for f in folders} - set(names))
    if unknown:
        raise DataError(f"{folder}: has classes that the training folder lacks: {', '.join(unknown[:5])}")
    files = [(file, names.index(f.name)) for f in folders for file in _pictures(f)]
    paths = [str(file) for file, _ in files]
    labels = torch.tensor([label for _, label in files], dtype=torch.int64)
    if like is not None:
        size = like.shape[1:]
    opened = OpenedFiles(paths, pil)
    return PictureSet(labels, opened, opened.name, size, None if like is None else like.shape[0], names)


class OpenedFiles:
    """Opens the picture file with a number; can be sent to loader workers."""

    def __init__(self, paths: list[str], pil: Any) -> None:
        self.paths, self._open = paths, pil.open

    def __call__(self, i: int) -> Any:
        return self._open(self.paths[i])

    def name(self, i: int) -> str:
        return self.paths[i]


class OpenedColumn:
    """Takes the picture with a number out of a Hugging Face dataset."""

    def __init__(self, dataset: Any, source: str) -> None:
        self.dataset, self.source = dataset, source

    def __call__(self, i: int) -> Any:
        value: Any = unpack(self.dataset[i])[0]
        if hasattr(value, "convert"):
            return value
        array = pixels_of(self.source, np.asarray(value)[None])[0].mul(255).round().byte()
        return _pil().fromarray(array.permute(1, 2, 0).squeeze(-1).numpy())

    def name(self, i: int) -> str:
        return f"{self.source}, row {i}"


def read_hub(source: str, size: tuple[int, int] | None) -> tuple[ImageSet, ImageSet | None]:
    """Training and test split of a Hugging Face dataset, by its name or by the folder it was saved to.

    Raises:
        DataError: the package is missing, nothing is there, or no column holds images or labels.
    """
    try:
        import datasets
    except ImportError:
        raise DataError(f"--data hf:{source} needs the package datasets: pip install datasets") from None
    folder = Path(source).expanduser()
    try:
        found: Any = datasets.load_from_disk(str(folder)) if folder.is_dir() else datasets.load_dataset(source)
    except Exception as error:  # networks, disks and formats fail in many ways
        raise DataError(f"--data hf:{source}: cannot be loaded ({error})") from error
    splits = dict(found) if isinstance(found, dict) else {"train": found}
    train_name = next((name for name in TRAIN_NAMES if name in splits), None)
    if train_name is None:
        raise DataError(f"--data hf:{source}: has no split named train; got {', '.join(map(str, splits))}")
    train = _column_set(splits[train_name], f"hf:{source}", size)
    test_name = next((name for name in TEST_NAMES if name in splits), None)
    if test_name is None:
        return train, None
    return train, _column_set(splits[test_name], f"hf:{source}", train.shape[1:], train.shape[0])


def _column_set(dataset: Any, source: str, size: tuple[int, int] | None, channels: int | None = None) -> PictureSet:
    labels = stored_labels(dataset)
    try:
        unpack(dataset[0])
    except TypeError as error:
        raise DataError(f"{source}: {error}") from None
    if labels is None:
        raise DataError(f"{source}: needs a column of labels; got {', '.join(dataset.column_names)}")
    opened = OpenedColumn(dataset, source)
    y = checked_labels(source, labels.numpy(), len(dataset))
    return PictureSet(y, opened, opened.name, size, channels, class_names_of(dataset))


def _class_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(f for f in path.iterdir() if f.is_dir() and any(True for _ in _pictures(f)))


def _pictures(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())


def _pil() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise DataError("folders of pictures need Pillow: pip install pillow") from None
    return Image
