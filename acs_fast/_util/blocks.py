"""The rows of several tensors in one buffer of bytes: a block for each tensor, the widest elements first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ALIGNMENT = 8  # bytes, at which every buffer begins


def block_bytes(columns: Sequence[Tensor], rows: int) -> int:
    """Size of a buffer for so many rows of tensors like these, a multiple of `ALIGNMENT`."""
    return -(-sum(rows * _row_bytes(c) for c in columns) // ALIGNMENT) * ALIGNMENT


def blocks(buffer: Tensor, columns: Sequence[Tensor], rows: int) -> list[Tensor]:
    """Views of a buffer as [rows, ...] tensors like these.

    Args:
        buffer: uint8, of at least `block_bytes(columns, rows)`.

    Example:
        >>> buffer = torch.zeros(24, dtype=torch.uint8)
        >>> numbers, flags = blocks(buffer, [torch.empty(0, 2, dtype=torch.int16), torch.empty(0)], 3)
        >>> numbers.shape, flags.shape
        (torch.Size([3, 2]), torch.Size([3]))
    """
    found: dict[int, Tensor] = {}
    at = 0
    for i in sorted(range(len(columns)), key=lambda i: -columns[i].element_size()):
        size = rows * _row_bytes(columns[i])
        found[i] = buffer[at : at + size].view(columns[i].dtype).view(rows, *columns[i].shape[1:])
        at += size
    return [found[i] for i in range(len(columns))]


def put(rows: Tensor, out: Tensor, index: Tensor | None = None) -> None:
    """Copy rows, or those of an index, into a tensor on any device."""
    if index is None:
        out.copy_(rows)
    elif rows.device == out.device:
        torch.index_select(rows, 0, index.to(rows.device), out=out)
    else:
        out.copy_(rows[index.to(rows.device)])


def _row_bytes(column: Tensor) -> int:
    return column.element_size() * column.shape[1:].numel()
