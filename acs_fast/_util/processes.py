"""One answer for all processes of distributed training."""

from __future__ import annotations

from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


def of_first_rank(value: T, world_size: int) -> T:
    """The value of rank 0 on every rank of the process group; without a group of that size, the value as it is.

    All ranks must call it. What `value` holds must be picklable, its tensors on the CPU.
    """
    if world_size == 1 or not dist.is_available() or not dist.is_initialized() or dist.get_world_size() != world_size:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]
