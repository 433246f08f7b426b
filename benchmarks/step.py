"""Training steps: ours, the published loops, and torchattacks in the same loop.

Every opponent trains the same network on the same batch, from the same weights, with the same optimiser, and ends a
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
from acs_fast.benchmark import Case, Opponent
from acs_fast.training import models
from acs_fast.training.engine import Engine, has_bfloat16

EPS, ALPHA, BETA, CLASSES = 8 / 255, 2 / 255, 6.0, 10
REPEAT = 15

Attack = Callable[[nn.Module, Tensor, Tensor], Tensor]
Losses = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]


def _opponent(title: str, kind: str, loop: str, **engine: bool) -> Opponent:
    packages = ("torchattacks",) if loop == "torchattacks" else ()
    options = {"loop": loop, "engine": Engine(**{"channels_last": False, **engine})}
    return Opponent(title, kind, __name__, options, packages, packages, devices=("cpu",))


OPPONENTS = {
    "published": _opponent("published loop", "published", "published"),
    "torchattacks": _opponent("torchattacks in the same loop", "peer", "torchattacks"),
    "ours": _opponent("acs_fast", "ours", "ours"),
    "ours-channels-last": _opponent("acs_fast, channels last", "ours", "ours", channels_last=True),
    "ours-compiled": _opponent("acs_fast, channels last, compiled", "ours", "ours", channels_last=True, compile=True),
    "ours-bfloat16": _opponent(
        "acs_fast, the same in bfloat16", "ours", "ours", channels_last=True, compile=True, amp=True
    ),
}
NO_BFLOAT16 = (
    {} if has_bfloat16(torch.device("cpu")) else {"ours-bfloat16": "this processor has no bfloat16 arithmetic"}
)
TAKE_PART = tuple(name for name in OPPONENTS if name not in NO_BFLOAT16)


@dataclass(frozen=True)
class StepCase(Case):
    """A training step: objective, ResNet-18 width, batch, image side, attack steps."""

    objective: str
    width: int = 32
    batch: int = 64
    side: int = 32
    steps: int = 5
    base: str = "published"  # that speed-ups are told over

    @property
    def size(self) -> str:
        images = f"{self.batch} images of 3 x {self.side} x {self.side}"
        return f"ResNet-18 of width {self.width}, {images}, {self.steps} steps"

    def prepare(self, opponent: Opponent, device: str) -> Trainer:
        return Trainer(self, **opponent.options)


CASES = tuple(
    StepCase(
        f"engine-{objective}", f"adversarial training with {objective.upper()}", objective, opponents=TAKE_PART,
        not_run=NO_BFLOAT16, warm_up=2, seconds=60.0, limit_s=600.0,
    )
    for objective in ("pgd", "trades")
)  # fmt: skip
QUICK = tuple(replace(c, width=4, batch=4, side=8, steps=1, warm_up=1) for c in CASES)


class Trainer:
    """A model and everything for one opponent's steps on one batch."""

    def __init__(self, case: StepCase, loop: str, engine: Engine) -> None:
        self.case, self.loop = case, loop
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(case.batch, 3, case.side, case.side, generator=generator)
        torch.manual_seed(0)
        model = models.build("resnet18", (x.mean((0, 2, 3)), x.std((0, 2, 3))), CLASSES, case.width)
        self.engine = engine = engine.suited(model, x.device)
        self.model = engine.runnable(engine.laid_out(model)).train()
        self.x, self.y = engine.laid_out(x), torch.randint(CLASSES, (case.batch,), generator=generator)
        self.optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, weight_decay=5e-4)
        self.attack, self.losses = LOOPS[loop](case)

    def run(self) -> None:
        """One step."""
        precision = self.engine.precision
        with precision(self.x.device):
            x_adv = self.attack(self.model, self.x, self.y)
        with precision(self.x.device):
            loss = self.losses(self.model, self.x, x_adv, self.y).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def judge(self, answer: None) -> dict[str, float]:
        """By how much the attack raises what it climbs, on the weights that all opponents started from."""
        start = Trainer(self.case, self.loop, Engine(channels_last=False))
        model, x, y = start.model, start.x, start.y
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0  # one pass gives the statistics
        model(x)
        with self.engine.precision(x.device):
            x_adv = start.attack(model, x, y)
        model.eval()
        with torch.no_grad():
            clean, attacked = model(x), model(x_adv)
            if self.case.objective == "trades":
                gain = F.kl_div(attacked.log_softmax(1), clean.softmax(1), reduction="batchmean")
            else:
                gain = F.cross_entropy(attacked, y) - F.cross_entropy(clean, y)
        return {"gain": float(gain)}


def _ours(case: StepCase) -> tuple[Attack, Losses]:
    pgd = case.objective == "pgd"
    objective = acs.PGD(EPS, ALPHA, case.steps, seed=0) if pgd else acs.TRADES(BETA, EPS, ALPHA, case.steps, seed=0)
    return objective.perturb, objective.per_sample_loss


def _published(case: StepCase) -> tuple[Attack, Losses]:
    def pgd(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        x_adv = (x + torch.empty_like(x).uniform_(-EPS, EPS)).clamp(0, 1)
        for _ in range(case.steps):
            x_adv.requires_grad_()
            model.zero_grad()
            F.cross_entropy(model(x_adv), y).backward()
            x_adv = _moved(x, x_adv.detach(), x_adv.grad)
        return x_adv

    def trades(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        model.eval()
        x_adv = x + 0.001 * torch.randn_like(x)
        for _ in range(case.steps):
            x_adv.requires_grad_()
            q, p = F.log_softmax(model(x_adv), 1), F.softmax(model(x), 1)
            (gradient,) = torch.autograd.grad(F.kl_div(q, p, reduction="sum"), x_adv)
            x_adv = _moved(x, x_adv.detach(), gradient)
        model.train()
        return x_adv

    return (pgd, _cross_entropy) if case.objective == "pgd" else (trades, _trades)


def _moved(x: Tensor, x_adv: Tensor, gradient: Tensor) -> Tensor:
    return torch.min(torch.max(x_adv + ALPHA * gradient.sign(), x - EPS), x + EPS).clamp(0, 1)


def _torchattacks(case: StepCase) -> tuple[Attack, Losses]:
    import torchattacks

    attack = torchattacks.PGD if case.objective == "pgd" else torchattacks.TPGD
    losses = _cross_entropy if case.objective == "pgd" else _trades
    return lambda model, x, y: attack(model, EPS, ALPHA, case.steps)(x, y), losses


def _cross_entropy(model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(model(x_adv), y, reduction="none")


def _trades(model: nn.Module, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    clean, attacked = model(x), model(x_adv)
    divergence = F.kl_div(attacked.log_softmax(1), clean.softmax(1), reduction="none").sum(1)
    return F.cross_entropy(clean, y, reduction="none") + BETA * divergence


LOOPS: dict[str, Callable[[StepCase], Any]] = {"ours": _ours, "published": _published, "torchattacks": _torchattacks}
