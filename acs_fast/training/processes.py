"""Agreement among the processes of one training run. Alone, everything here does nothing."""

from __future__ import annotations

import gc
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from acs_fast._util.exchange import Exchange
from acs_fast._util.processes import is_distributed as is_distributed
from acs_fast._util.processes import rank as rank
from acs_fast._util.processes import world_size as world_size
from acs_fast.training import checkpoint

T = TypeVar("T")


def started_by_torchrun() -> bool:
    """Whether this process is one of several under torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def local_rank() -> int:
    """This process's number on its machine, by torchrun; 0 without one."""
    return int(os.environ.get("LOCAL_RANK", "0")) if started_by_torchrun() else 0


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """The process group of a torchrun: NCCL on GPUs, else gloo. Without a torchrun, or inside a group, nothing."""
    if not started_by_torchrun() or is_distributed():
        yield
        return
    importlib.import_module("torch.distributed.nn")  # its functions' defaults keep a group that is there before it
    if device.type == "cuda":
        torch.cuda.set_device(device)  # NCCL and what travels over it take the current one
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        gc.collect()  # wrapped models hold the group; without them its threads are joined, and none outlives Python
        dist.destroy_process_group()


def on_first(work: Callable[[], T]) -> T:
    """Do something on rank 0 alone; all processes get what it returned, or raise what it raised."""
    if not is_distributed():
        return work()
    made, error = Exchange().from_first("the first process", lambda: _outcome(work))
    if error is not None:
        raise error
    return made  # type: ignore[return-value]


def _outcome(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return work(), None
    except Exception as error:
        return None, error


def summed(values: Tensor) -> Tensor:
    """The sum over all processes."""
    return Exchange().sum(values)


def gathered(value: T) -> list[T]:
    """Values of all processes, by rank."""
    return Exchange().objects(value)


def sum_gradients(model: torch.nn.Module) -> None:
    """Replace every gradient by its sum over all processes, in one exchange."""
    if not is_distributed():
        return
    parameters = [p for p in model.parameters() if p.requires_grad]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = summed(torch.cat([g.flatten() for g in gradients]))
    for p, g in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        p.grad = g.view_as(p)


@torch.no_grad()
def average_buffers(model: torch.nn.Module) -> None:
    """Replace floating buffers, such as the statistics of batch norm, by their mean over all processes."""
    buffers = [b for b in model.buffers() if b.is_floating_point()]
    if not is_distributed() or not buffers:
        return
    flat = summed(torch.cat([b.flatten() for b in buffers])) / world_size()
    for b, mean in zip(buffers, flat.split([b.numel() for b in buffers]), strict=True):
        b.copy_(mean.view_as(b))


@contextmanager
def locked_by_first(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder while the processes of this one work in it; see `checkpoint.locked`."""
    with ExitStack() as stack:
        on_first(lambda: stack.enter_context(checkpoint.locked(folder)))
        yield
