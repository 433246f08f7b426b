"""Two processes of one thread against one process of one thread: attack pass, one problem per class, one over all.

`python -m benchmarks.distributed_bars [attack | per-class | global ...]` prints one line per process count and part.
"""

from __future__ import annotations

import gzip
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import acs_fast as acs
from acs_fast._util.exchange import Exchange
from acs_fast.selection.distributed import Shard, facility_location

CLASSES, WIDTH, FRACTION, REPEATS = 10, 512, 0.1, 3


def problem(n: int) -> tuple[acs.LastLayerGradients, Tensor]:
    """Softmax residuals and rectified features around one centre per class."""
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(CLASSES, (n,), generator=draw)
    z = 2.0 * torch.randn(n, CLASSES, generator=draw) + 3.0 * nn.functional.one_hot(y, CLASSES)
    centres = torch.randn(CLASSES, WIDTH, generator=draw)
    h = torch.relu(centres[y] + torch.randn(n, WIDTH, generator=draw))
    return acs.LastLayerGradients(z.softmax(1) - nn.functional.one_hot(y, CLASSES), h), y


def attack(exchange: Exchange) -> Callable[[], object]:
    """2,048 real Fashion-MNIST images from the folder FASHION_MNIST, PGD with ten steps on a small network."""
    with gzip.open(Path(os.environ["FASHION_MNIST"]) / "train-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(16 + 2048 * 784), np.uint8, offset=16).reshape(2048, 1, 28, 28)
    images = TensorDataset(torch.from_numpy(pixels / np.float32(255)), torch.arange(2048) % CLASSES)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, 2), nn.ReLU(), nn.Conv2d(32, 64, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(2304, 10)
    )
    source = acs.AttackPass(model, images, acs.PGD(0.1, 0.02, 10), show_progress=False)
    return lambda: source.shard(0, exchange)


def select(n: int, per_class: bool, exchange: Exchange) -> Callable[[], object]:
    g, y = problem(n)
    if exchange.size == 1:
        return lambda: acs.facility_location(g, FRACTION, groups=y if per_class else None)
    own = (torch.arange(n) // 128 % exchange.size == exchange.rank).nonzero().flatten()
    shard = Shard(g[own], own, y[own])
    return lambda: facility_location(shard, FRACTION, per_class=per_class)


PARTS: dict[str, Callable[[Exchange], Callable[[], object]]] = {
    "attack": attack,
    "per-class": lambda exchange: select(50_000, True, exchange),
    "global": lambda exchange: select(20_000, False, exchange),
}


def measure(rank: int, ranks: int, part: str, store: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{store}", world_size=ranks, rank=rank)
    work = PARTS[part](Exchange())
    before, times = peak_mib(), []
    for _ in range(REPEATS):
        dist.barrier()
        start = time.perf_counter()
        result: Any = work()
        dist.barrier()
        times.append(time.perf_counter() - start)
    if rank == 0:
        best, grown = min(times), peak_mib() - before
        stats = getattr(result, "stats", {})
        extra = {name: stats[name] for name in ("rounds", "exchange") if name in stats}
        seconds = " ".join(f"{t:.3f}" for t in times)
        print(f"{part:10} W={ranks}  best {best:.3f} s ({seconds})  grown by {grown} MiB  {extra}", flush=True)
    dist.destroy_process_group()


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> None:
    for part in sys.argv[1:] or PARTS:
        for ranks in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                mp.spawn(measure, args=(ranks, part, f"{folder}/store"), nprocs=ranks)


if __name__ == "__main__":
    main()
