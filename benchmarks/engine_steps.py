"""Training steps that the engine benchmark compares: ours, the published loops, and torchattacks in the same loop.

Every contender trains the same network on the same batch, from the same weights, with the same optimiser, and ends a
step with new weights. The published loops are written after the description of them: the PGD attack calls
`loss.backward()` on the model in train mode, so that every step of it computes gradients of the weights that are thrown
away and moves the batch-norm statistics; the TRADES attack runs in eval mode and computes the clean prediction anew,
with its graph, at every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import acs_fast as acs
from acs_fast.training import models
from acs_fast.training.engine import Engine

PLAIN = Engine(channels_last=False)
EPS, ALPHA, BETA, CLASSES = 8 / 255, 2 / 255, 6.0, 10

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]
Losses = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """A training step: objective, ResNet-18 width, batch, image side, attack steps."""

    name: str
    title: str
    objective: str
    width: int = 32
    batch: int = 64
    side: int = 32
    steps: int = 5

    @property
    def size(self) -> str:
        return (
            f"ResNet-18 of width {self.width}, {self.batch} images of 3 x {self.side} x {self.side}, {self.steps} steps"
        )


@dataclass(frozen=True)
class Contender:
    """How a step is made. `kind`: "ours", "peer" or "published"; `engine` is how the model is run."""

    name: str
    title: str
    kind: str
    engine: Engine = PLAIN


CONTENDERS = (
    Contender("published", "published loop", "published"),
    Contender("torchattacks", "torchattacks in the same loop", "peer"),
    Contender("ours", "acs_fast", "ours"),
    Contender("ours-channels-last", "acs_fast, channels last", "ours", Engine()),
    Contender("ours-compiled", "acs_fast, channels last, compiled", "ours", Engine(compile=True)),
    Contender("ours-bfloat16", "acs_fast, the same in bfloat16", "ours", Engine(compile=True, amp=True)),
)


class Trainer:
    """A model and everything for one contender's steps on one batch."""

    def __init__(self, case: Case, contender: Contender) -> None:
        self.case, self.contender = case, contender
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(case.batch, 3, case.side, case.side, generator=generator)
        torch.manual_seed(0)
        engine = contender.engine
        model = models.build("resnet18", x, CLASSES, case.width)
        self.model = engine.runnable(engine.laid_out(model)).train()
        self.x, self.y = engine.laid_out(x), torch.randint(CLASSES, (case.batch,), generator=generator)
        self.optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, weight_decay=5e-4)
        self.attack, self.losses = PARTS[case.objective, contender.kind](case.steps)

    def step(self) -> None:
        precision = self.contender.engine.precision
        with precision(self.x.device):
            x_adv = self.attack(self.model, self.x, self.y)
        with precision(self.x.device):
            loss = self.losses(self.model, self.x, x_adv, self.y).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def gain(self) -> float:
        """By how much the attack raises what it climbs, on the weights that all contenders started from."""
        start = Trainer(self.case, replace(self.contender, engine=PLAIN))
        precision = self.contender.engine.precision
        model, x, y = start.model, start.x, start.y
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0  # one pass gives the statistics
        model(x)
        with precision(x.device):
            x_adv = start.attack(model, x, y)
        model.eval()
        with torch.no_grad():
            clean, attacked = model(x), model(x_adv)
            if self.case.objective == "trades":
                return float(F.kl_div(attacked.log_softmax(1), clean.softmax(1), reduction="batchmean"))
            return float(F.cross_entropy(attacked, y) - F.cross_entropy(clean, y))


def _ours_pgd(steps: int) -> tuple[Attack, Losses]:
    objective = acs.PGD(EPS, ALPHA, steps, seed=0)
    return objective.perturb, objective.per_sample_loss


def _ours_trades(steps: int) -> tuple[Attack, Losses]:
    objective = acs.TRADES(BETA, EPS, ALPHA, steps, seed=0)
    return objective.perturb, objective.per_sample_loss


def _published_pgd(steps: int) -> tuple[Attack, Losses]:
    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        x_adv = (x + torch.empty_like(x).uniform_(-EPS, EPS)).clamp(0, 1)
        for _ in range(steps):
            x_adv.requires_grad_()
            model.zero_grad()
            F.cross_entropy(model(x_adv), y).backward()
            moved = x_adv.detach() + ALPHA * x_adv.grad.sign()
            x_adv = torch.min(torch.max(moved, x - EPS), x + EPS).clamp(0, 1)
        return x_adv

    return attack, _cross_entropy


def _published_trades(steps: int) -> tuple[Attack, Losses]:
    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        model.eval()
        x_adv = x + 0.001 * torch.randn_like(x)
        for _ in range(steps):
            x_adv.requires_grad_()
            q, p = F.log_softmax(model(x_adv), 1), F.softmax(model(x), 1)
            (gradient,) = torch.autograd.grad(F.kl_div(q, p, reduction="sum"), x_adv)
            moved = x_adv.detach() + ALPHA * gradient.sign()
            x_adv = torch.min(torch.max(moved, x - EPS), x + EPS).clamp(0, 1)
        model.train()
        return x_adv

    return attack, _trades


def _torchattacks_pgd(steps: int) -> tuple[Attack, Losses]:
    import torchattacks

    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        found: Tensor = torchattacks.PGD(model, EPS, ALPHA, steps)(x, y)
        return found

    return attack, _cross_entropy


def _torchattacks_trades(steps: int) -> tuple[Attack, Losses]:
    import torchattacks

    def attack(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        found: Tensor = torchattacks.TPGD(model, EPS, ALPHA, steps)(x, y)
        return found

    return attack, _trades


def _cross_entropy(model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x_adv), y, reduction="none")


def _trades(model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    clean, attacked = model(x), model(x_adv)
    divergence = F.kl_div(attacked.log_softmax(1), clean.softmax(1), reduction="none").sum(1)
    return F.cross_entropy(clean, y, reduction="none") + BETA * divergence


PARTS: dict[tuple[str, str], Any] = {
    ("pgd", "ours"): _ours_pgd,
    ("pgd", "published"): _published_pgd,
    ("pgd", "peer"): _torchattacks_pgd,
    ("trades", "ours"): _ours_trades,
    ("trades", "published"): _published_trades,
    ("trades", "peer"): _torchattacks_trades,
}
