"""What a process does in a run, by name, and what its answer is worth."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import acs_fast as acs
from acs_fast._util.exchange import Exchange
from acs_fast.selection.distributed import Shard, facility_location
from acs_fast.training import load_data
from benchmarks.experiments.trial import source

if TYPE_CHECKING:
    from benchmarks.processes.ranks import Order

CLASSES = 10  # of the images
EXACT = 1 << 52  # integers that a float64 tells apart

Job = Callable[[], Any]


def attack(order: Order, exchange: Exchange) -> Job:
    """This process's share of an attack pass over real images."""
    images = load_data(source(None)[0], 2 * order.n).train
    data = TensorDataset(images.read(list(range(order.n))), images.labels[: order.n])
    passes = acs.AttackPass(_network(), data, _attack(), show_progress=False)
    return lambda: passes.shard(0, exchange)


def step(order: Order, exchange: Exchange) -> Job:
    """The first step of a training loop, which attacks and selects."""
    draw = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.rand(order.n, 1, 28, 28, generator=draw), torch.arange(order.n) % CLASSES)
    model, objective = _network(), _attack()
    passes = acs.AttackPass(model, data, objective, show_progress=False)

    def run() -> acs.Coreset | None:
        coreset = acs.AdversarialCoreset(
            model, data, objective, fraction=order.fraction, epochs=4, warm_start=0.0, gradients=passes
        )
        return coreset.step(0)

    return run


def per_class(order: Order, exchange: Exchange) -> Job:
    return _selection(order, exchange, True)


def together(order: Order, exchange: Exchange) -> Job:
    return _selection(order, exchange, False)


WORK: dict[str, Callable[[Order, Exchange], Job]] = {
    "attack": attack,
    "step": step,
    "per-class": per_class,
    "global": together,
}


def worth(answer: Any, exchange: Exchange) -> dict[str, float]:
    """The same on every process, whatever their number, where the answers are the same bit for bit."""
    if isinstance(answer, acs.Coreset):
        parts = (answer.indices, answer.weights, answer.gains)
        found = zlib.crc32(b"".join(x.contiguous().numpy().tobytes() for x in parts))
        return {"picks": float(len(answer)), "checksum": float(found)}
    taken, index = answer
    bits = torch.cat([taken.gradients.residuals, taken.gradients.features], -1).view(torch.int32).to(torch.int64)
    return {"checksum": float(int(exchange.sum((bits.sum((1, 2)) * (index + 1)).sum())) % EXACT)}


def _selection(order: Order, exchange: Exchange, per_class: bool) -> Job:
    g, y = _problem(order)
    if exchange.size == 1:
        return lambda: acs.facility_location(g, order.fraction, groups=y if per_class else None)
    own = (torch.arange(order.n) // 128 % exchange.size == exchange.rank).nonzero().flatten()
    shard = Shard(g[own], own, y[own])
    return lambda: facility_location(shard, order.fraction, per_class=per_class)


def _problem(order: Order) -> tuple[acs.LastLayerGradients, Tensor]:
    """Softmax residuals and rectified features around one centre per class."""
    draw = torch.Generator().manual_seed(0)
    y = torch.randint(order.classes, (order.n,), generator=draw)
    one_hot = nn.functional.one_hot(y, order.classes)
    z = 2.0 * torch.randn(order.n, order.classes, generator=draw) + 3.0 * one_hot
    centres = torch.randn(order.classes, order.width, generator=draw)
    h = torch.relu(centres[y] + torch.randn(order.n, order.width, generator=draw))
    return acs.LastLayerGradients(z.softmax(1) - one_hot, h), y


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, 2), nn.ReLU(), nn.Conv2d(32, 64, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(2304, CLASSES)
    )


def _attack() -> acs.PGD:
    return acs.PGD(0.1, 0.02, 10)
