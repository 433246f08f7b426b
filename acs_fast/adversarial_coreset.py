"""Coreset selection inside a user's own training loop."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from acs_fast._util.checks import check_count, check_number
from acs_fast._util.settings import check_complete, check_same_settings, described, load_state, reading_state, state_of
from acs_fast.coreset import Coreset
from acs_fast.data import CoresetBatchSampler, CoresetSampler, IndexedDataset, Labels, Plan, replicas
from acs_fast.gradients import AttackPass, Extraction, GradientSource, as_source
from acs_fast.objectives import as_objective
from acs_fast.schedule import Schedule
from acs_fast.selection import Selecting, Selector, build_selector, distributed

logger = logging.getLogger("acs_fast")

STATE = {"config", "epoch", "coreset", "history", "objective", "selection"}


class AdversarialCoreset:
    """Weighted coresets for an adversarial training loop, selected every few epochs.

    Args:
        model: the model being trained; see `last_layer_gradients`.
        dataset: map-style training data of (x, y) tuples or dicts, N samples, x in [0, 1].
        objective: of the training; see `last_layer_gradients`.
        selector: a name from `acs_fast.selection.SELECTORS` ("craig", "gradmatch", "clusters", "random", ...) or a
            `Selector` such as `Craig(metric="sqeuclidean")`.
        fraction: size of the coreset relative to the data, in (0, 1].
        epochs, period, warm_start: see `Schedule.published`.
        seed: of the order of samples and of everything random in the selection.
        schedule: when, and on what an epoch trains, in place of `epochs`, `period` and `warm_start`.
        gradients: a `GradientSource`, or any callable seed -> `Extraction` of all N samples; by default
            `AttackPass(model, dataset, objective)`. See also `TrainingPasses` and `Vectors`.
        labels: [N] integers, where the dataset has none to read without decoding every image.
        num_replicas, rank: the processes that share the samples of an epoch, and this one; by default what
            `torch.distributed` says. All processes must call `step`.
        on_select: called with the new `Coreset` and the epoch after each selection.

    Attributes:
        dataset: emits (x, y, index).
        sampler: for an ordinary DataLoader; see also `batch_sampler`.
        current: the current `Coreset`, or None before the first selection.
        history: one dict per selection: epoch, size, and the coreset's stats.

    Raises:
        ValueError, TypeError: an argument outside its range or of the wrong kind.

    Example:
        >>> import torch
        >>> data = torch.utils.data.TensorDataset(torch.rand(8, 1, 2, 2), torch.arange(8) % 2)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> coreset = AdversarialCoreset(model, data, lambda x, y: x, fraction=0.5, epochs=4, period=2, warm_start=0.5)
        >>> coreset.epochs
        [0, 2, 3]
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Any,
        objective: Any,
        selector: str | Selector = "craig",
        fraction: float = 0.5,
        *,
        epochs: int | None = None,
        period: int = 20,
        warm_start: float = 0.5,
        seed: int = 0,
        schedule: Schedule | None = None,
        gradients: GradientSource | Callable[[int], Extraction] | None = None,
        labels: Any = None,
        num_replicas: int | None = None,
        rank: int | None = None,
        on_select: Callable[[Coreset, int], object] | None = None,
    ) -> None:
        self.model, self.objective, self.dataset = model, as_objective(objective), IndexedDataset(dataset)
        self.selector, self.on_select = build_selector(selector), on_select
        self.fraction = check_number("fraction", fraction, low=0.0, high=1.0, above=True)
        self.schedule = _schedule(schedule, epochs, fraction, period, warm_start)
        self.seed = check_count("seed", seed)
        if gradients is None and self.selector.needs_gradients:
            gradients = AttackPass(model, dataset, self.objective)
        self.gradients = source = None if gradients is None else as_source(gradients)
        self._plan = Plan(len(dataset), seed, *replicas(num_replicas, rank), self.objective.remembers)
        together = distributed.Together(self._plan.num_replicas, self._shared_facts)
        self._selecting = Selecting(
            self.selector, source, self.schedule, len(dataset), self.budget, Labels(dataset, labels), seed, together
        )
        self.sampler = CoresetSampler(self.dataset, self._plan, self._advance)
        self.current: Coreset | None = None
        self.history: list[dict[str, Any]] = []
        self._plan.announce(self.budget if self.schedule.kinds[self.epochs[0]] == "coreset" else len(dataset))

    @property
    def epochs(self) -> list[int]:
        """Numbers of the training epochs, without those skipped."""
        return self.schedule.epochs

    @property
    def budget(self) -> int:
        """Size of the coreset."""
        return max(1, int(self.fraction * len(self.dataset)))

    def step(self, epoch: int) -> Coreset | None:
        """Begin an epoch: select when the schedule says so, and point the samplers at what the epoch trains on.

        Calling it again for the same epoch changes nothing. An epoch that the schedule skips holds a few random
        samples, so that loops over all epoch numbers find something to average; the first one is warned of.

        Returns:
            The new coreset when one was selected, else None.

        Raises:
            ValueError: epoch is outside the schedule.
        """
        kind = self.schedule.kind(epoch)
        if self._plan.epoch < 0 and epoch == 1 and self.schedule.kinds[0] != "skipped":
            logger.warning("training begins with epoch 1, not 0: if the loop counts from 1, call step(epoch - 1)")
        selected = self._select(epoch) if self._selecting.is_due(epoch) else None
        self._plan.begin(epoch, kind, self.current)
        return selected

    def batch_sampler(self, batch_size: int) -> CoresetBatchSampler:
        """Mini-batches for `DataLoader(coreset.dataset, batch_sampler=...)`; see `CoresetBatchSampler`."""
        return CoresetBatchSampler(self.dataset, self._plan, self._advance, batch_size)

    def weights(self, index: Any) -> Tensor:
        """[B] weights of a batch on the device of `index`, with mean 1 over the coreset; 1 where all data are used.

        Args:
            index: [B] sample numbers, as the dataset emits them. On a GPU they are not waited for, and the weight of a
                sample outside the epoch is NaN.

        Raises:
            ValueError: an index on the CPU that the current epoch does not train on.
        """
        return self._plan.weights_of(index)

    def contains(self, index: Any) -> Tensor:
        """[B] bool on the device of `index`, True for members of the coreset; for all, in epochs without one."""
        return self._plan.contains(index)

    def total_steps(self, batch_size: int) -> int:
        """Optimiser steps of this process over the whole schedule with mini-batches of this size, none dropped."""
        check_count("batch_size", batch_size, 1)
        sizes = [self.budget if self.schedule.kinds[e] == "coreset" else len(self.dataset) for e in self.epochs]
        return sum(-(-self._plan.share(size) // batch_size) for size in sizes)

    def state_dict(self) -> dict[str, Any]:
        """The state behind picks and order, for bit-identical resumption; loads with weights_only=True."""
        return {
            "config": self._config(), "epoch": self._plan.epoch, "history": copy.deepcopy(self.history),
            "coreset": None if self.current is None else self.current.state_dict(),
            "objective": state_of(self.objective), "selection": self._selecting.state_dict(),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            ValueError: the state is of a run with other settings or other data; names them.
        """
        check_complete(state, STATE)
        check_complete(state["config"], set(self._config()))
        check_same_settings(self._config(), state["config"])
        with reading_state():
            if state["coreset"] is not None:
                self.current = Coreset.from_state(state["coreset"]).check(len(self.dataset))
            self.history = list(copy.deepcopy(state["history"]))
            load_state(self.objective, state["objective"])
            self._selecting.load_state_dict(state["selection"])
            epoch = check_count("epoch", state["epoch"], low=-1)
        if epoch >= 0:
            self._plan.begin(epoch, self.schedule.kind(epoch), self.current)

    def _config(self) -> dict[str, Any]:
        return {
            "samples": len(self.dataset), "objective": described(self.objective), "fraction": self.fraction,
            "selector": described(self.selector), "gradients": described(self.gradients), "seed": self.seed,
            "kinds": list(self.schedule.kinds), "due": sorted(self.schedule.due),
        }  # fmt: skip

    def _advance(self, number: int) -> None:
        """Begin the epoch that trains as the number-th, unless a later one has begun."""
        epoch = self.schedule.nth(number)
        if epoch > self._plan.epoch:
            self.step(epoch)

    def _select(self, epoch: int) -> Coreset:
        self.current = coreset = self._selecting(epoch)
        self.history.append({"epoch": epoch, "size": len(coreset), **coreset.stats})
        if self.on_select is not None:
            self.on_select(coreset, epoch)
        return coreset

    def _shared_facts(self) -> dict[str, Any]:
        """What every process must have alike."""
        return self._config() | distributed.fingerprints(self.dataset.dataset, self.model, self._selecting.labels.known)


def _schedule(given: Schedule | None, epochs: int | None, fraction: float, period: int, warm_start: float) -> Schedule:
    if given is None:
        if epochs is None:
            raise ValueError("epochs must be given, or a schedule; got neither")
        given = Schedule.published(epochs, fraction, period, warm_start)
    elif epochs is not None and epochs != len(given.kinds):
        raise ValueError(f"epochs must be those of the schedule, {len(given.kinds)}; got {epochs}")
    if not given.epochs:
        raise ValueError(f"schedule must train in at least one of its {len(given.kinds)} epochs; it skips all of them")
    return given
