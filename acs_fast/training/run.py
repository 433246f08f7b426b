"""One training run: a user's loop around `AdversarialCoreset`, with a log and checkpoints."""

from __future__ import annotations

import copy
import json
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from acs_fast._util.progress import progress
from acs_fast._util.randomness import derived_seed
from acs_fast.adversarial_coreset import AdversarialCoreset
from acs_fast.gradients import AttackPass, TrainingPasses, Vectors
from acs_fast.objectives import PGD, Objective, SelectiveAttack
from acs_fast.selection import facility_location
from acs_fast.training import checkpoint, models, processes, validation
from acs_fast.training.checkpoint import CheckpointError
from acs_fast.training.config import RunConfig
from acs_fast.training.data import Splits
from acs_fast.training.learner import Learner
from acs_fast.training.trackers import NoTracker, Tracker, open_tracker
from acs_fast.training.validation import Validation, share_standing

CHECKPOINT, BEST, LOG, RESULT = "checkpoint.pt", "best.pt", "log.jsonl", "result.json"
BEST_SO_FAR = {"robust": -1.0, "epoch": -1}
STAGES = ("attack", "step", "selection", "validation")


class Run:
    """Trains one model and keeps everything about it in a folder. Under torchrun the processes share the work.

    Args:
        config: the settings.
        splits: the data.
        folder: for log.jsonl, checkpoint.pt (the newest epoch), best.pt (best validation) and result.json.
        device: where to train.
        show_progress: print a line for each epoch, and bars.
    """

    def __init__(
        self, config: RunConfig, splits: Splits, folder: Path, device: torch.device, show_progress: bool = True
    ) -> None:
        self.config = config = config.resolved(splits.eps)
        self.splits, self.folder, self.device = splits, folder, device
        self.show_progress = show_progress and processes.rank() == 0
        torch.manual_seed(derived_seed("model", config.seed))
        statistics = splits.train.statistics()
        model = models.build(config.model, statistics, splits.classes, config.width, config.weights).to(device)
        engine = config.engine.suited(model, device)
        engine.check(device)
        facility_location(torch.zeros(1, 1, device=device), 1, backend=config.backend)  # raises where it is missing
        self.model = engine.laid_out(model)
        runnable = engine.runnable(self.model)
        strong = config.build_objective()
        self.gradients = self._gradient_source(runnable, strong)
        self.coreset = AdversarialCoreset(
            runnable, splits.train, strong, gradients=self.gradients, labels=splits.train.labels, **config.selection
        )
        objective = strong
        if config.is_selective:
            objective = SelectiveAttack(strong, config.build_cheap(strong), self.coreset)
        passes = self.gradients if config.takes_training_passes else None
        self.learner = Learner(config, engine, self.model, runnable, objective, self.coreset, passes)
        self.loader = DataLoader(
            self.coreset.dataset, sampler=self.coreset.batch_sampler(self.learner.own_batch_size), batch_size=None,
            num_workers=config.workers, persistent_workers=config.workers > 0, pin_memory=device.type == "cuda",
        )  # fmt: skip
        held_out = splits.validation.first(config.validated(len(splits.train)))
        self.validation = Validation(config, held_out, device)
        self.epoch = -1  # the last one finished
        self.best: dict[str, Any] = dict(BEST_SO_FAR)
        self.log: list[dict[str, Any]] = []
        self.tracker: Tracker = NoTracker()

    @property
    def average(self) -> nn.Module:
        """The averaged model."""
        return self.learner.average.module

    def train(self) -> dict[str, Any]:
        """Train what is left to train, evaluate, and return the result (also written to result.json)."""
        with processes.locked_by_first(self.folder):
            if self.epoch < 0:
                self.save()
            processes.on_first(self._open_tracker)
            left = [e for e in self.coreset.epochs if e > self.epoch]
            label = f"{self.config.method}, seed {self.config.seed}"
            for epoch in progress(left, label, enabled=self.show_progress):
                self._train_epoch(epoch)
            result = self._result()
            processes.on_first(lambda: checkpoint.write_json(self.folder / RESULT, result))
            self.tracker.close()
        return result

    def save(self) -> None:
        """Write checkpoint.pt, enough for a bit-identical continuation."""
        state = {
            **self.learner.state_dict(), "config": self.config.as_dict(), "epoch": self.epoch,
            "coreset": self.coreset.state_dict(), "best": self.best, "log": self.log, **self._made_for,
        }  # fmt: skip
        processes.on_first(lambda: checkpoint.save(self.folder / CHECKPOINT, state))

    def restore(self) -> None:
        """Continue from checkpoint.pt. Raises CheckpointError when it is unreadable or of another run."""
        path = self.folder / CHECKPOINT
        state = checkpoint.load(path, self.config.as_dict())
        try:
            self.learner.load_state_dict(state)
            self.coreset.load_state_dict(state["coreset"])
            self.epoch, self.best, self.log = state["epoch"], state["best"], state["log"]
            self._check_restored()
            text = "".join(json.dumps(entry) + "\n" for entry in self.log)
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{path}: its state is not one of this run ({reason})") from error
        processes.on_first(lambda: checkpoint.write_bytes(self.folder / LOG, text.encode()))

    def _check_restored(self) -> None:
        """Raise ValueError unless what was read is of the kinds that are written."""
        right = {
            "batches": isinstance(self.learner.batches, int),
            "epoch": self.epoch in (-1, *self.coreset.epochs),
            "best": isinstance(self.best, dict) and self.best.keys() == BEST_SO_FAR.keys(),
            "log": isinstance(self.log, list) and all(isinstance(entry, dict) for entry in self.log),
        }
        if not all(right.values()):
            raise ValueError(f"{', '.join(name for name, fine in right.items() if not fine)}: of another kind")

    @property
    def _made_for(self) -> dict[str, Any]:
        """What the model's weights alone do not say."""
        return {"shape": list(self.splits.train.shape), "classes": self.splits.classes}

    def _open_tracker(self) -> None:
        self.tracker = open_tracker(self.config.log, self.folder, self.config.as_dict())

    def _gradient_source(self, model: nn.Module, objective: Objective) -> Any:
        config = self.config
        if config.takes_training_passes:
            return TrainingPasses(model, objective)
        if not config.selects or not config.build_selector().needs_gradients:
            return None
        if config.gradients == "pixels":
            images = torch.cat([x for x, _ in self.splits.train.loader(workers=config.workers)])
            return Vectors(images, self.splits.train.labels)
        attack = objective if config.selection_steps is None else config.build_objective(config.selection_steps)
        return AttackPass(
            model, self.splits.train, attack, batch_size=config.batch_size, num_workers=config.workers,
            show_progress=self.show_progress,
        )  # fmt: skip

    def _train_epoch(self, epoch: int) -> None:
        selected = self.coreset.step(epoch)
        entry: dict[str, Any] = {
            "epoch": epoch,
            "kind": self.coreset.schedule.kind(epoch),
            "lr": self.learner.learning_rate,
        }
        batches = self.config.batches_of(range(epoch, epoch + 1), len(self.loader))
        entry |= self.learner.train_epoch(epoch, islice(self.loader, batches))
        entry["coreset"] = None if selected is None else dict(selected.stats)
        entry["seconds"]["selection"] = 0.0 if selected is None else selected.stats["seconds"]["total"]
        self._finish_epoch(epoch, entry)

    def _finish_epoch(self, epoch: int, entry: dict[str, Any]) -> None:
        start = time.perf_counter()
        model = self.average if self.config.ema else self.model
        scores = self.validation.score(model, epoch)
        entry["catastrophic_overfitting"] = self.validation.warn(epoch, scores, self.log, self.best)
        if scores["robust"] > self.best["robust"]:
            self.best = {"robust": scores["robust"], "epoch": epoch}
            state = {"model": model.state_dict(), "config": self.config.as_dict(), "epoch": epoch, **self._made_for}
            processes.on_first(lambda: checkpoint.save(self.folder / BEST, state))
        entry["seconds"]["validation"] = time.perf_counter() - start
        entry["validation"] = scores
        self.log.append(entry)
        self.epoch = epoch
        self.save()
        processes.on_first(lambda: checkpoint.append_line(self.folder / LOG, json.dumps(entry)))
        self._tell(entry)

    def _tell(self, entry: dict[str, Any]) -> None:
        """A line for people, and figures for the tracker."""
        scores, seconds = entry["validation"], sum(entry["seconds"].values())
        if self.show_progress:
            print(
                f"epoch {entry['epoch'] + 1:3d}/{len(self.coreset.schedule.kinds)}  {entry['kind']:<9}  "
                f"loss {entry['loss']:.4f}  clean {100 * scores['clean']:5.1f} %  "
                f"robust {100 * scores['robust']:5.1f} %  lr {entry['lr']:.4f}  {seconds:.1f} s",
                flush=True,
            )
        figures = {"loss": entry["loss"], "lr": entry["lr"], **{f"validation/{k}": v for k, v in scores.items()}}
        self.tracker.log(figures | {f"seconds/{k}": v for k, v in entry["seconds"].items()}, entry["epoch"])

    def _result(self) -> dict[str, Any]:
        """Test accuracy of the best and the last weights, and where the seconds went."""
        best = copy.deepcopy(self.average)
        best.load_state_dict(checkpoint.load(self.folder / BEST, self.config.as_dict())["model"])
        tested = {"best": best} | ({"last": self.model} if self.config.evaluate_last else {})
        seconds = {k: sum(e["seconds"][k] for e in self.log) for k in STAGES}
        coresets = [e["coreset"] for e in self.log if e["coreset"] is not None]
        overfitted = (e["epoch"] for e in self.log if e["catastrophic_overfitting"])
        return {
            "config": self.config.as_dict(),
            "test": {name: self._test(model) for name, model in tested.items()},
            "best_epoch": self.best["epoch"],
            "catastrophic_overfitting_epoch": next(overfitted, None),
            "seconds": {**seconds, "training": seconds["attack"] + seconds["step"]},
            "gradient_error": None if self.config.gradients == "pixels" else _mean(
                [c["relative_gradient_error"] for c in coresets]
            ),
            "break_even_fraction": self._break_even(seconds),
            "samples_visited": sum(e["samples"] for e in self.log),
            "filled": sum(c["filled"] for c in coresets),
            "backend": next((c["backend"] for c in coresets), None),
        }  # fmt: skip

    def _break_even(self, seconds: dict[str, float]) -> float | None:
        """The fraction below which coreset epochs cost less than full ones, selection included, as measured here.

        With t the seconds of a full-data epoch (attack and step, by samples) and s the selection seconds of a coreset
        epoch, f t + s < t for f < 1 - s / t; below 0 it never pays. None where no epoch trains on the coreset alone.
        """
        epochs, visited = sum(e["kind"] == "coreset" for e in self.log), sum(e["samples"] for e in self.log)
        if not epochs:
            return None
        full_epoch = (seconds["attack"] + seconds["step"]) / visited * len(self.splits.train)
        return float(1.0 - seconds["selection"] / epochs / full_epoch)

    def _test(self, model: nn.Module) -> dict[str, float]:
        config, device = self.config, self.device
        attack = PGD(config.radius, config.radius / 10, validation.FINAL_STEPS, config.norm)
        seed, workers = derived_seed("test", config.seed), config.workers
        robust = share_standing(
            model, self.splits.test.first(config.test_limit), attack, device, seed, validation.FINAL_RESTARTS, workers,
            self.show_progress,
        )  # fmt: skip
        return {"clean": share_standing(model, self.splits.test, None, device, workers=workers), "robust": robust}


def _mean(values: list[float | None]) -> float | None:
    """Of those that were measured."""
    found = [float(v) for v in values if v is not None]
    return sum(found) / len(found) if found else None
