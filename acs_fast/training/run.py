"""One training run: the loop that any user would write around `AdversarialCoreset`, with a log and checkpoints."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, TensorDataset

from acs_fast._util.progress import progress
from acs_fast._util.randomness import derived_seed
from acs_fast._util.stopwatch import Stopwatch
from acs_fast.adversarial_coreset import AdversarialCoreset
from acs_fast.evaluation.accuracy import accuracy, overfits_catastrophically, robust_accuracy
from acs_fast.gradients import AttackPass, TrainingPasses
from acs_fast.objectives import PGD
from acs_fast.objectives.selective import perturb_allocated
from acs_fast.training import checkpoint, models
from acs_fast.training.config import RunConfig
from acs_fast.training.data import Splits, loader_arguments
from acs_fast.weighting import weighted_mean

VALIDATION_STEPS = 10
FINAL_STEPS, FINAL_RESTARTS = 50, 10
logger = logging.getLogger("acs_fast")


class Run:
    """Trains one model and keeps everything about it in a folder.

    Args:
        config: the settings.
        splits: the data.
        folder: for log.jsonl, checkpoint.pt (the newest epoch), best.pt (best validation) and result.json.
        device: where to train.
    """

    def __init__(
        self,
        config: RunConfig,
        splits: Splits,
        folder: Path,
        device: torch.device,
        show_progress: bool = True,
    ) -> None:
        self.config, self.splits, self.folder, self.device = config, splits, folder, device
        self.show_progress = show_progress
        self.observe: Callable[[Tensor, Tensor], AbstractContextManager[None]]
        torch.manual_seed(derived_seed("model", config.seed))
        self.engine = config.engine
        self.engine.check(device)
        model = models.build(config.model, splits.train.x, splits.classes, config.width).to(device)
        self.model = self.engine.laid_out(model)
        self.runnable = self.engine.runnable(self.model)
        self.average = AveragedModel(self.model, multi_avg_fn=_ema(config.ema))
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), config.learning_rate, config.momentum, weight_decay=config.weight_decay
        )
        self.objective = config.build_objective()
        self.cheap = config.build_cheap(self.objective) if config.allocates else None
        data = TensorDataset(splits.train.x, splits.train.y)
        self.coreset = AdversarialCoreset(
            self.runnable, data, self.objective, gradients=self._gradient_source(data), **config.selection
        )
        sampler: Any = self.coreset.batch_sampler(config.batch_size)
        self.loader = DataLoader(self.coreset.dataset, sampler=sampler, **loader_arguments(device))
        self.image_size = list(splits.train.x.shape[2:])
        self.epoch = -1  # the last one finished
        self.best: dict[str, float] = {"robust": -1.0, "epoch": -1}
        self.log: list[dict[str, Any]] = []

    def _gradient_source(self, data: TensorDataset) -> AttackPass | TrainingPasses:
        if self.config.resolved_refresh == "train":
            passes = TrainingPasses(self.runnable, self.objective)
            self.observe = passes.observe
            return passes
        self.observe = lambda index, y: nullcontext()
        steps = self.config.selection_steps
        objective = self.objective if steps is None else self.config.build_cheaper(steps)
        return AttackPass(
            self.runnable, data, objective, batch_size=self.config.batch_size, show_progress=self.show_progress
        )

    def train(self) -> dict[str, Any]:
        """Train what is left to train, evaluate, and return the result (also written to result.json)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.epoch < 0:
            self.save()
        left = [e for e in self.coreset.epochs if e > self.epoch]
        for epoch in progress(left, f"{self.config.method}, seed {self.config.seed}", enabled=self.show_progress):
            self._train_epoch(epoch)
        result = self._result()
        checkpoint.write_json(self.folder / "result.json", result)
        return result

    def save(self) -> None:
        """Write checkpoint.pt: everything that a bit-identical continuation needs."""
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        state = {
            "config": self.config.as_dict(), "epoch": self.epoch, "model": self.model.state_dict(),
            "average": self.average.state_dict(), "optimizer": self.optimizer.state_dict(),
            "coreset": self.coreset.state_dict(), "random": {"cpu": torch.get_rng_state(), "cuda": cuda},
            "best": self.best, "log": self.log, "image_size": self.image_size,
            "cheap": None if self.cheap is None else self.cheap.state_dict(),
        }  # fmt: skip
        checkpoint.save(self.folder / "checkpoint.pt", state)

    def restore(self) -> None:
        """Continue from checkpoint.pt. Raises CheckpointError when it is unreadable or of another run."""
        state = checkpoint.load(self.folder / "checkpoint.pt", self.config.as_dict())
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.coreset.load_state_dict(state["coreset"])
        if self.cheap is not None:
            self.cheap.load_state_dict(state["cheap"])
        torch.set_rng_state(state["random"]["cpu"])
        if self.device.type == "cuda" and state["random"]["cuda"] is not None:
            torch.cuda.set_rng_state(state["random"]["cuda"], self.device)
        self.epoch, self.best, self.log = state["epoch"], state["best"], state["log"]
        (self.folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in self.log))

    def _train_epoch(self, epoch: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(epoch)
        selected = self.coreset.step(epoch)
        watch = Stopwatch(self.device)
        samples, total = 0, torch.zeros((), device=self.device)
        self.model.train()
        for x, y, index in self.loader:
            x = self.engine.laid_out(x.to(self.device, non_blocking=True))
            total += len(index) * self._train_batch(x, y.to(self.device, non_blocking=True), index, watch)
            samples += len(index)
        loss_sum, seconds = float(total), watch.seconds()
        if not math.isfinite(loss_sum):
            raise FloatingPointError(f"the training loss became {loss_sum} in epoch {epoch}: lower --lr")
        stats = None if selected is None else dict(selected.stats)
        seconds["selection"] = 0.0 if stats is None else stats["seconds"]["total"]
        self._finish_epoch(
            epoch, {"samples": samples, "loss": loss_sum / samples, "seconds": seconds, "coreset": stats}
        )

    def _train_batch(self, x: Tensor, y: Tensor, index: Tensor, watch: Stopwatch) -> Tensor:
        watch.start()
        with self.engine.precision(self.device):
            if self.cheap is None:
                x_adv = self.objective.perturb(self.runnable, x, y, index=index)
            else:
                x_adv = perturb_allocated(
                    self.runnable, x, y, self.coreset.contains(index), self.objective, self.cheap, index=index
                )
        watch.lap("attack")
        with self.observe(index, y), self.engine.precision(self.device):
            losses = self.objective.per_sample_loss(self.runnable, x, x_adv, y)
        loss = weighted_mean(losses, self.coreset.weights(index))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.average.update_parameters(self.model)
        watch.lap("step")
        return loss.detach()

    def _finish_epoch(self, epoch: int, entry: dict[str, Any]) -> None:
        start = time.perf_counter()
        scores = self._validate(epoch)
        entry["seconds"]["validation"] = time.perf_counter() - start
        entry["catastrophic_overfitting"] = self._overfits(epoch, scores)
        if scores["robust"] > self.best["robust"]:
            self.best = {"robust": scores["robust"], "epoch": epoch}
            weights = {"model": self.average.module.state_dict(), "config": self.config.as_dict(), "epoch": epoch}
            checkpoint.save(self.folder / "best.pt", {**weights, "image_size": self.image_size})
        kind = self.coreset.schedule.kind(epoch)
        entry = {"epoch": epoch, "kind": kind, "lr": self.learning_rate(epoch), **entry, "validation": scores}
        self.log.append(entry)
        self.epoch = epoch
        self.save()
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def learning_rate(self, epoch: int) -> float:
        """Cosine decay by epoch number, so that skipped epochs do not move it."""
        epochs = len(self.coreset.schedule.kinds)
        return self.config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * epoch / epochs))

    def _attack(self, steps: int, seed: int) -> PGD:
        """A PGD attack in the norm of the training objective."""
        alpha = 2.5 * self.config.eps / steps if steps < FINAL_STEPS else self.config.eps / 10
        return PGD(self.config.eps, alpha, steps, self.config.norm, seed=seed)

    def _validate(self, epoch: int) -> dict[str, float]:
        model, images = self.average.module, self.splits.validation
        if not len(images):
            return {"clean": 0.0, "robust": float(epoch)}  # nothing to choose by: the last epoch is the best
        attack = self._attack(VALIDATION_STEPS, derived_seed("validation", self.config.seed, epoch))
        robust = robust_accuracy(model, images, attack, self.device)
        scores = {"clean": accuracy(model, images, self.device), "robust": robust}
        if self.config.objective != "vanilla":
            one_step = PGD(self.config.eps, self.config.eps, 1, self.config.norm, random_start=False)
            scores["fgsm"] = robust_accuracy(model, images, one_step, self.device)
        return scores

    def _overfits(self, epoch: int, scores: dict[str, float]) -> bool:
        """Has the training attack stopped to mean anything? Warned of once in a run."""
        if "fgsm" not in scores:
            return False
        labels = self.splits.validation.y
        chance = float(labels.bincount().max()) / len(labels)
        fires = overfits_catastrophically(scores["fgsm"], scores["robust"], self.best["robust"], chance)
        if fires and self._overfitted_epoch() is None:
            logger.warning(
                "catastrophic overfitting in epoch %d: validation accuracy is %.1f %% under PGD (best %.1f %%) but "
                "%.1f %% under FGSM; try --objective pgd, more --steps or a smaller --eps. best.pt keeps epoch %d",
                epoch, 100 * scores["robust"], 100 * self.best["robust"], 100 * scores["fgsm"], self.best["epoch"],
            )  # fmt: skip
        return fires

    def _overfitted_epoch(self) -> int | None:
        """The first epoch with catastrophic overfitting."""
        return next((e["epoch"] for e in self.log if e.get("catastrophic_overfitting")), None)

    def _result(self) -> dict[str, Any]:
        """Test accuracy of the best and the last weights, and where the seconds went."""
        best = models.build(self.config.model, self.splits.train.x, self.splits.classes, self.config.width)
        best = self.engine.laid_out(best)
        best.load_state_dict(checkpoint.load(self.folder / "best.pt", self.config.as_dict())["model"])
        weights = {"best": best.to(self.device)} | ({"last": self.model} if self.config.evaluate_last else {})
        seconds = {k: sum(e["seconds"][k] for e in self.log) for k in ("attack", "step", "selection", "validation")}
        return {
            "config": self.config.as_dict(),
            "test": {name: self._test(model) for name, model in weights.items()},
            "best_epoch": self.best["epoch"],
            "catastrophic_overfitting_epoch": self._overfitted_epoch(),
            "seconds": {**seconds, "training": seconds["attack"] + seconds["step"]},
            "gradient_error": self._mean_of("relative_gradient_error"),
            "break_even_fraction": self._break_even(seconds),
            "samples_visited": sum(e["samples"] for e in self.log),
            "filled": sum(e["coreset"]["filled"] for e in self.log if e["coreset"] is not None),
            "backend": next((e["coreset"]["backend"] for e in self.log if e["coreset"] is not None), None),
        }

    def _mean_of(self, name: str) -> float | None:
        """Over the selections that measured it."""
        found = [e["coreset"].get(name) for e in self.log if e["coreset"] is not None]
        found = [float(v) for v in found if v is not None]
        return sum(found) / len(found) if found else None

    def _break_even(self, seconds: dict[str, float]) -> float | None:
        """The fraction below which coreset epochs cost less than full ones, selection included, as measured here.

        With t the seconds of a full-data epoch (attack and step, by samples) and s the selection seconds of a coreset
        epoch, f t + s < t for f < 1 - s / t; below 0 it never pays. None where there are no coreset epochs, and with
        `allocate`, whose epochs cost something else.
        """
        epochs, visited = sum(e["kind"] == "coreset" for e in self.log), sum(e["samples"] for e in self.log)
        if not epochs or self.config.allocates:
            return None
        full_epoch = (seconds["attack"] + seconds["step"]) / visited * len(self.splits.train)
        return float(1.0 - seconds["selection"] / epochs / full_epoch)

    def _test(self, model: nn.Module) -> dict[str, float]:
        attack = self._attack(FINAL_STEPS, derived_seed("test", self.config.seed))
        images = self.splits.test.first(self.config.test_limit)
        robust = robust_accuracy(model, images, attack, self.device, FINAL_RESTARTS, self.show_progress)
        return {"clean": accuracy(model, self.splits.test, self.device), "robust": robust}


def _ema(decay: float) -> Any:
    """Exponential moving average whose window grows to its full length over the first steps."""

    def average(averaged: Any, current: Any, count: Tensor | int) -> None:
        t = int(count)
        torch._foreach_lerp_(list(averaged), list(current), 1.0 - min(decay, (1 + t) / (10 + t)))

    return average
