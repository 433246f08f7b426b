"""Rows kept for each sample from one visit to the next, such as perturbations."""

from __future__ import annotations

import torch
from torch import Tensor

from acs_fast._util.checks import as_integers


class MemoryBank:
    """Rows of one shape by number, on the device of their last use; grows with the numbers."""

    def __init__(self) -> None:
        self.rows = torch.empty(0)
        self.known = torch.empty(0, dtype=torch.bool)

    def read(self, index: Tensor, otherwise: Tensor) -> Tensor:
        """[B, ...]: the rows of `index` [B], and those of `otherwise` [B, ...] where nothing is remembered.

        Raises:
            ValueError: the rows remembered have another shape.
        """
        self._make_room(index, otherwise)
        index = index.to(otherwise.device, non_blocking=True)
        known = self.known[index].view(-1, *(1,) * (otherwise.dim() - 1))
        return torch.where(known, self.rows[index], otherwise)

    def write(self, index: Tensor, values: Tensor) -> None:
        """Remember `values` [B, ...] as the rows of `index` [B]."""
        self._make_room(index, values)
        index = index.to(values.device, non_blocking=True)
        self.rows[index] = values
        self.known[index] = True

    def state(self) -> list[Tensor]:
        """Copies of the rows and of the mask of known ones."""
        return [self.rows.clone(), self.known.clone()]

    def load(self, state: list[Tensor]) -> None:
        """Continue from what `state` returned."""
        self.rows, self.known = (t.clone() for t in state)

    def _make_room(self, index: Tensor, like: Tensor) -> None:
        if len(self.rows) and self.rows.shape[1:] != like.shape[1:]:
            raise ValueError(
                f"index must number images of one shape: {list(self.rows.shape[1:])} is remembered, "
                f"{list(like.shape[1:])} came"
            )
        self.rows, self.known = self.rows.to(like), self.known.to(like.device)
        needed = int(index.max()) + 1 if len(index) else 0
        if needed > len(self.rows):
            grown = like.new_zeros(max(needed, 2 * len(self.rows)), *like.shape[1:])
            known = torch.zeros(len(grown), dtype=torch.bool, device=like.device)
            grown[: len(self.rows)], known[: len(self.known)] = self.rows.reshape(-1, *like.shape[1:]), self.known
            self.rows, self.known = grown, known


def checked_index(index: Tensor, batch: int) -> Tensor:
    """Sample numbers [B], one for each image. Raises TypeError or ValueError where they are not."""
    index = as_integers("index", index)
    if index.shape != (batch,):
        raise ValueError(f"index must have shape [{batch}] like the batch; got {list(index.shape)}")
    if index.device.type == "cpu" and batch and int(index.min()) < 0:
        raise ValueError(f"index must be sample numbers, 0 or more; got {int(index.min())}")
    return index
