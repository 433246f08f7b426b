"""Run a function as every rank of a process group, and bring back what each returned."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

TIMEOUT_S = 60


def on_ranks(ranks: int, folder: Path, work: Callable[..., Any], *args: Any) -> list[Any]:
    """`work(rank, ranks, *args)` in `ranks` processes of one gloo group; what they return must be savable by torch."""
    mp.spawn(_enter, args=(ranks, str(folder), work, args), nprocs=ranks)
    return [torch.load(folder / f"{ranks}-{rank}.pt", weights_only=False) for rank in range(ranks)]


def _enter(rank: int, ranks: int, folder: str, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store-{ranks}"
    dist.init_process_group("gloo", store, timedelta(seconds=TIMEOUT_S), ranks, rank)
    torch.save(work(rank, ranks, *args), f"{folder}/{ranks}-{rank}.pt")
    dist.destroy_process_group()
