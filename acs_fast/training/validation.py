"""The best weights so far, and signs of a training gone wrong."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from acs_fast._util.randomness import derived_seed
from acs_fast.evaluation import count_standing, overfits_catastrophically
from acs_fast.objectives import PGD
from acs_fast.training import processes
from acs_fast.training.config import RunConfig
from acs_fast.training.images import ImageSet

STEPS = 10
FINAL_STEPS, FINAL_RESTARTS = 50, 10
ABOVE_CHANCE = 0.05
PATIENCE, LEAST_EPOCHS = 0.25, 3  # share of the run after which accuracy should have left chance behind
logger = logging.getLogger("acs_fast")


class Validation:
    """Accuracy of models on images held out, the attack seeded by the run and the epoch.

    Args:
        config: eps, norm and seed.
        images: to attack, of those held out.
        device: to compute on.
    """

    def __init__(self, config: RunConfig, images: ImageSet, device: torch.device) -> None:
        self.config, self.images, self.device = config, images, device
        counts = self.images.labels.bincount()
        self.chance = float(counts.max()) / len(self.images) if len(self.images) else 1.0

    def score(self, model: nn.Module, epoch: int) -> dict[str, float]:
        """Clean accuracy, that under PGD, and where training attacks at all, that under FGSM."""
        if not len(self.images):
            return {"clean": 0.0, "robust": float(epoch)}  # nothing to choose by: the last epoch is the best
        config, seed = self.config, derived_seed("validation", self.config.seed, epoch)
        attack = PGD(config.radius, 2.5 * config.radius / STEPS, STEPS, config.norm)
        scores = {"clean": self.share(model, None), "robust": self.share(model, attack, seed)}
        if config.objective != "vanilla":
            one_step = PGD(config.radius, config.radius, 1, config.norm, random_start=False)
            scores["fgsm"] = self.share(model, one_step)
        return scores

    def share(self, model: nn.Module, attack: PGD | None, seed: int = 0) -> float:
        """The share of images still correct, in [0, 1]."""
        return share_standing(model, self.images, attack, self.device, seed, workers=self.config.workers)

    def warn(self, epoch: int, scores: dict[str, float], log: list[dict[str, Any]], best: dict[str, Any]) -> bool:
        """Warn, once each, of a meaningless attack and of a model without progress.

        Returns:
            Whether this epoch overfits catastrophically.
        """
        self._warn_of_chance(epoch, scores, log)
        if "fgsm" not in scores:
            return False
        fires = overfits_catastrophically(scores["fgsm"], scores["robust"], best["robust"], self.chance)
        if fires and not any(entry["catastrophic_overfitting"] for entry in log):
            logger.warning(
                "catastrophic overfitting in epoch %d: validation accuracy is %.1f %% under PGD (best %.1f %%) but "
                "%.1f %% under FGSM; try --objective pgd, more --steps or a smaller --eps. best.pt keeps epoch %d",
                epoch, 100 * scores["robust"], 100 * best["robust"], 100 * scores["fgsm"], best["epoch"],
            )  # fmt: skip
        return fires

    def _warn_of_chance(self, epoch: int, scores: dict[str, float], log: list[dict[str, Any]]) -> None:
        late = min(self.config.epochs, max(LEAST_EPOCHS, round(PATIENCE * self.config.epochs)))
        best = max([scores["clean"], *(entry["validation"]["clean"] for entry in log)])
        if len(log) + 1 == late and len(self.images) and best <= self.chance + ABOVE_CHANCE:
            logger.warning(
                "training stays at chance: after epoch %d validation accuracy is %.1f %% at best, where naming the "
                "most frequent class gives %.1f %%; try a smaller --eps, a longer --eps-warm-up, a lower --lr or a "
                "wider model",
                epoch, 100 * best, 100 * self.chance,
            )  # fmt: skip


def share_standing(
    model: nn.Module,
    images: ImageSet,
    attack: PGD | None,
    device: torch.device,
    seed: int = 0,
    restarts: int = 1,
    workers: int = 0,
    show_progress: bool = False,
) -> float:
    """The share of images right under every restart of an attack; the processes share the work."""
    rank, size = processes.rank(), processes.world_size()
    loader = images.loader(workers=workers, share=(rank, size))
    numbers = range(rank, rank + size * len(loader), size)
    counts = count_standing(
        model, loader, attack, device, restarts=restarts, seed=seed, numbers=numbers, show_progress=show_progress
    )
    standing, every = processes.summed(counts.to(device)).tolist()
    return float(standing / every)
