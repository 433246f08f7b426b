"""The processes of distributed training, and one answer for all of them."""

from __future__ import annotations

from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


def is_distributed() -> bool:
    """Whether this process belongs to an initialised process group."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """This process's number; 0 without a process group."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Number of processes; 1 without a process group."""
    return dist.get_world_size() if is_distributed() else 1


def of_first_rank(value: T, size: int) -> T:
    """The value of rank 0 on every rank of the process group; without a group of that size, the value as it is.

    All ranks must call it. What `value` holds must be picklable, its tensors on the CPU.
    """
    if size == 1 or world_size() != size:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]
