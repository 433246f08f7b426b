"""Labelled images by number, in memory or read on demand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset

from acs_fast.data import class_names_of, unpack
from acs_fast.training.files import DataError

BATCH = 512  # images at a time where nothing else is asked for
SAMPLED = 5000  # images that the statistics of the pixels are taken of


class ImageSet(Dataset):
    """Map-style images: a number gives (x, y), a list of numbers a whole batch.

    Subclasses define `read`.

    Attributes:
        labels: [N] int64.
        shape: (channels, height, width) of every image.
        class_names: of the classes in the order of their labels; empty where nothing tells them.
    """

    def __init__(self, labels: Tensor, shape: Sequence[int], class_names: tuple[str, ...] = ()) -> None:
        channels, height, width = shape
        self.labels, self.shape = labels, (int(channels), int(height), int(width))
        self.class_names = class_names

    def read(self, index: list[int]) -> Tensor:
        """[B, channels, height, width] float32 images in [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__} must define read(index)")

    def names(self, index: list[int]) -> list[str] | None:
        """Of the files that images come from; None where they come from none."""
        return None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | list[int]) -> tuple[Tensor, Tensor]:
        if isinstance(index, list):
            return self.read(index), self.labels[index]
        return self.read([index])[0], self.labels[index]

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, Tensor]]:
        return list(zip(*self[indices], strict=True))

    def part(self, index: Tensor) -> ImageSet:
        """Some of the images: `index` are numbers [M] or a mask [N]."""
        return Part(self, index.nonzero().flatten() if index.dtype == torch.bool else index)

    def first(self, n: int) -> ImageSet:
        """The first n images."""
        return self.part(torch.arange(min(n, len(self))))

    def loader(self, batch_size: int = BATCH, workers: int = 0, share: tuple[int, int] = (0, 1)) -> DataLoader:
        """Batches in order; with share = (r, w) every w-th batch from the r-th on."""
        order = list(BatchSampler(range(len(self)), batch_size, drop_last=False))
        return DataLoader(self, sampler=order[share[0] :: share[1]], batch_size=None, num_workers=workers)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [channels] of the pixels, of evenly spaced images where there are many."""
        chosen = torch.linspace(0, len(self) - 1, min(len(self), SAMPLED)).round().long().unique()
        count, total, squares = 0, torch.zeros(self.shape[0]).double(), torch.zeros(self.shape[0]).double()
        for index in chosen.split(BATCH):
            x = self.read(index.tolist()).double()
            count += x[:, 0].numel()
            total += x.sum((0, 2, 3))
            squares += x.square().sum((0, 2, 3))
        mean = total / count
        return mean.float(), (squares / count - mean.square()).clamp_min(0).sqrt().float()


class Images(ImageSet):
    """Images in memory: x [N, channels, height, width] in [0, 1], y [N]."""

    def __init__(self, x: Tensor, y: Tensor, class_names: tuple[str, ...] = ()) -> None:
        super().__init__(y, x.shape[1:], class_names)
        self.x, self.y = x, y

    def read(self, index: list[int]) -> Tensor:
        return self.x[index]

    def part(self, index: Tensor) -> Images:
        return Images(self.x[index], self.y[index], self.class_names)


class Part(ImageSet):
    """Some images of another set."""

    def __init__(self, whole: ImageSet, index: Tensor) -> None:
        super().__init__(whole.labels[index], whole.shape, whole.class_names)
        self.whole, self.index = whole, index

    def read(self, index: list[int]) -> Tensor:
        return self.whole.read(self.index[index].tolist())

    def names(self, index: list[int]) -> list[str] | None:
        return self.whole.names(self.index[index].tolist())


class Given(ImageSet):
    """A user's map-style dataset of (x, y) tuples or dicts.

    x is a tensor [channels, height, width], an array of it or of [height, width(, channels)], in [0, 1] or bytes, or a
    PIL picture.
    """

    def __init__(self, dataset: Any, labels: Tensor, source: str) -> None:
        self.dataset, self.source = dataset, source
        super().__init__(labels, self._image(0).shape, class_names_of(dataset))

    def read(self, index: list[int]) -> Tensor:
        return torch.stack([self._image(i) for i in index])

    def _image(self, i: int) -> Tensor:
        x: Any = unpack(self.dataset[i])[0]
        if hasattr(x, "convert"):
            x = np.asarray(x.convert("L" if x.mode in ("1", "L") else "RGB"))
        if isinstance(x, np.ndarray):
            return pixels_of(self.source, x[None])[0]
        if not isinstance(x, Tensor) or x.dim() != 3:
            got = f"shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise DataError(f"{self.source}: images must be tensors [channels, height, width]; got {got}")
        return x / 255.0 if x.dtype == torch.uint8 else x.float()


def from_arrays(source: object, x: np.ndarray, y: np.ndarray, class_names: tuple[str, ...] = ()) -> Images:
    """Images as `pixels_of` takes them, and their labels, all checked. Raises DataError, and names the source."""
    return Images(pixels_of(source, x), checked_labels(source, y, len(x)), class_names)


def pixels_of(source: object, x: np.ndarray) -> Tensor:
    """[N, channels, height, width] in [0, 1] of images in any usual layout.

    Raises:
        DataError: names the source and what is wrong.
    """
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[-1] in (1, 3) and x.shape[1] not in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise DataError(f"{source}: images must be [N, height, width] or with channels; got shape {list(x.shape)}")
    pixels = torch.from_numpy(np.array(x, dtype=np.float32, order="C"))  # a copy: files are read-only
    if x.dtype.kind in "iu":
        pixels /= 255.0
    if len(pixels) and not (float(pixels.min()) >= 0.0 and float(pixels.max()) <= 1.0):
        low, high = float(x.min()), float(x.max())
        raise DataError(f"{source}: images must be bytes or floats in [0, 1]; got [{low:.3g}, {high:.3g}]")
    return pixels


def checked_labels(source: object, y: np.ndarray, n: int) -> Tensor:
    """[N] int64 labels. Raises DataError unless there is an integer >= 0 for each of n images."""
    if y.size != n or max(y.shape, default=1) != y.size:
        raise DataError(f"{source}: needs one label for each of {n} images; got labels of shape {list(y.shape)}")
    if y.dtype.kind not in "iuf" or (y != np.floor(y)).any() or (y < 0).any() or (y >= 2.0**31).any():
        found = f"{y.dtype} such as {y.reshape(-1)[:3].tolist()}"
        raise DataError(f"{source}: labels must be integers from 0 to 2^31 - 1; got {found}")
    return torch.from_numpy(y.reshape(-1).astype(np.int64))
