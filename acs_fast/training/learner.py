"""The step of training: attack, weighted loss, optimiser, average; also of several processes together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast._util.randomness import derived_seed
from acs_fast._util.stopwatch import Stopwatch
from acs_fast.adversarial_coreset import AdversarialCoreset
from acs_fast.gradients import TrainingPasses
from acs_fast.objectives import Objective
from acs_fast.training import augment, processes
from acs_fast.training.average import AveragedModel
from acs_fast.training.config import RunConfig
from acs_fast.training.engine import Engine
from acs_fast.training.memories import merged
from acs_fast.training.rates import ramp, rate_factor

Batch = tuple[Tensor, Tensor, Tensor]


class Learner:
    """Trains a model on the mini-batches of a coreset.

    Args:
        config: the settings.
        engine: that the model is laid out for.
        model, runnable: the model without wrappers, and the one to call.
        objective: of the training, `SelectiveAttack` where the coreset decides what is attacked.
        coreset: gives the weights.
        passes: to observe, where a selection takes its gradients from training passes.

    Attributes:
        average: the averaged model.
        batches: how many mini-batches were trained on so far.
        total_batches: of the whole run.
    """

    def __init__(
        self,
        config: RunConfig,
        engine: Engine,
        model: nn.Module,
        runnable: nn.Module,
        objective: Objective,
        coreset: AdversarialCoreset,
        passes: TrainingPasses | None,
    ) -> None:
        self.config, self.engine, self.model, self.runnable = config, engine, model, runnable
        self.objective, self.coreset, self.passes = objective, coreset, passes
        self.device = next(model.parameters()).device
        self.average = AveragedModel(model, config.ema)
        self.optimizer = torch.optim.SGD(
            model.parameters(), config.learning_rate, config.momentum, weight_decay=config.weight_decay
        )
        epochs = range(len(coreset.schedule.kinds))
        self.batches, self.total_batches = 0, config.batches_of(epochs, coreset.total_steps(self.own_batch_size))

    @property
    def own_batch_size(self) -> int:
        """This process's share of a mini-batch."""
        return max(1, self.config.batch_size // processes.world_size())

    @property
    def size_of_attack(self) -> float:
        """The share of its full size that the attack has at present, in (0, 1]."""
        return ramp(self.config.eps_warm_up, self.batches, self.total_batches)

    @property
    def learning_rate(self) -> float:
        factor = rate_factor(self.config.lr_schedule, self.batches, self.total_batches)
        return self.config.learning_rate * factor

    def train_epoch(self, epoch: int, loader: Iterable[Batch]) -> dict[str, Any]:
        """Train on the epoch's mini-batches.

        Returns:
            samples, mean loss, and seconds by stage; the same on every process but for the seconds.

        Raises:
            FloatingPointError: the loss became infinite or NaN.
        """
        seed = (self.config.seed, epoch, processes.rank())
        torch.manual_seed(derived_seed("epoch", *seed))
        watch, total, visited = Stopwatch(self.device), torch.zeros(2, device=self.device), []
        self.model.train()
        with self.objective.seeded(derived_seed("attack", *seed)):
            for group in grouped(loader, self.config.accumulate):
                total += self._train_group(group, watch)
                visited += [index for _, _, index in group]
        self._bring_together(torch.cat(visited))
        loss, samples = processes.summed(total).tolist()
        if not math.isfinite(loss):
            raise FloatingPointError(f"the training loss became {loss} in epoch {epoch}: lower --lr")
        return {"samples": int(samples), "loss": loss / samples, "seconds": watch.seconds()}

    def state_dict(self) -> dict[str, Any]:
        """Model, average, optimiser and progress; the attack's memory is part of the coreset's state."""
        return {
            "model": self.model.state_dict(), "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(), "batches": self.batches,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches = state["batches"]

    def _train_group(self, group: list[Batch], watch: Stopwatch) -> Tensor:
        """One step of the optimiser; returns the sum of the weighted losses and the number of samples [2]."""
        own = torch.tensor(sum(len(index) for _, _, index in group), dtype=torch.float32, device=self.device)
        count = processes.summed(own)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self.device)
        for x, y, index in group:
            x, y = self._placed(x, y)
            with watch("attack"):
                objective, x_adv = self._attacked(x, y, index)
            with watch("step"):
                part = self._loss(objective, x, x_adv, y, index)
                (part / count).backward()  # type: ignore[no-untyped-call]
                loss += part.detach()
            self.batches += 1
        with watch("step"):
            processes.sum_gradients(self.model)
            self.optimizer.step()
            self.average.update(self.model)
        return torch.stack([loss, own])

    def _placed(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """A mini-batch on the device, augmented."""
        x = self.engine.laid_out(x.to(self.device, non_blocking=True))
        y = y.to(self.device, non_blocking=True)
        if self.config.augment != "none":
            seed = derived_seed("augment", self.config.seed, self.batches, processes.rank())
            x = self.engine.laid_out(augment.standard(x, seed))
        return x, y

    def _attacked(self, x: Tensor, y: Tensor, index: Tensor) -> tuple[Objective, Tensor]:
        """The objective at its present size, and its adversarial examples."""
        size = self.size_of_attack
        objective = self.objective if size == 1.0 else self.objective.scaled(size)
        with self.engine.precision(self.device):
            return objective, objective.perturb(self.runnable, x, y, index=index)

    def _loss(self, objective: Objective, x: Tensor, x_adv: Tensor, y: Tensor, index: Tensor) -> Tensor:
        """The sum of the weighted losses of a mini-batch."""
        observed = nullcontext() if self.passes is None else self.passes.observe(index, y)
        with observed, self.engine.precision(self.device):
            losses = objective.per_sample_loss(self.runnable, x, x_adv, y)
        return (self.coreset.weights(index).to(losses) * losses).sum()

    def _bring_together(self, visited: Tensor) -> None:
        """Give every process the batch-norm statistics and the memories of all."""
        if not processes.is_distributed():
            return
        for model in (self.model, self.average.module):
            processes.average_buffers(model)
        memories: list[Any] = [self.coreset.objective, *([] if self.passes is None else [self.passes])]
        for memory in memories:
            memory.load_state_dict(merged(memory.state_dict(), visited))


def grouped(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Groups of `size` batches; the last may be smaller."""
    iterator = iter(batches)
    while group := list(islice(iterator, size)):
        yield group
