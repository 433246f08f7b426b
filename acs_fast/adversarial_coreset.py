"""Coreset selection inside a training loop that the user already has."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from acs_fast.checks import check_choice, check_count
from acs_fast.coreset import Coreset
from acs_fast.extraction import BatchAdapter, Extraction, FeaturesFn, as_objective, extract, unpack
from acs_fast.sampling import (
    CoresetBatchSampler,
    CoresetSampler,
    IndexedDataset,
    Plan,
    is_random,
    labels_of,
    with_transform,
)
from acs_fast.schedule import Schedule
from acs_fast.selection import gradient_error
from acs_fast.selectors import Choice, Pool, Selector, epoch_seed, selector

logger = logging.getLogger("acs_fast")


class AdversarialCoreset:
    """Selects, every few epochs, the weighted coreset that an adversarial training loop goes on with.

    Args:
        model: the model being trained; see `last_layer_gradients`.
        dataset: map-style training data of (x, y) tuples or dicts, x in [0, 1].
        objective: see `last_layer_gradients`.
        selector: "craig", "gradmatch", "random" (redrawn every epoch), "random-fixed", "random-stratified", or an
            object like those in `acs_fast.selectors`.
        fraction: size of the coreset relative to the data, in (0, 1].
        epochs, period, warm_start: see `Schedule`.
        seed: of the order of samples and of everything random in the selection.
        granularity: "class", "batch" or "global".
        batch_size: of the selection passes, of `batch_sampler`, and of the elements for granularity "batch".
        selection_transform: replaces the dataset's `transform` while selecting, so that random augmentation does not
            leak into the selection. The training data keeps its own.
        selection_dataset: the same samples in the same order without augmentation, where there is no `transform`.
        num_workers: of the selection passes.
        head, features_fn, batch_adapter: see `last_layer_gradients`.
        backend: see `facility_location`.
        rank, world_size: this process's share of the samples under distributed training. Every rank selects, from the
            same model and therefore the same coreset.
        report_error: also measure the gradient error of selectors that need no gradients; takes an attack pass, whose
            seconds count as "diagnostics" and not as selection.
        show_progress: draw progress bars on long passes.

    Attributes:
        dataset: emits (x, y, index).
        sampler, batch_sampler: for an ordinary DataLoader (one of the two). With granularity "batch" use
            `batch_sampler`.
        epochs: the epoch numbers that train.
        current: the current `Coreset`, or None before the first selection.
        history: one dict per selection: epoch, size, and the coreset's stats.

    Raises:
        ValueError, TypeError: an argument outside its range or of the wrong kind.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> data = TensorDataset(torch.rand(8, 1, 2, 2), torch.arange(8) % 2)
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
        epochs: int,
        period: int = 20,
        warm_start: float = 0.5,
        seed: int = 0,
        granularity: str = "class",
        batch_size: int = 128,
        selection_transform: Callable[[Any], Any] | None = None,
        selection_dataset: Any = None,
        num_workers: int = 0,
        head: nn.Module | str | None = None,
        features_fn: FeaturesFn | None = None,
        batch_adapter: BatchAdapter | None = None,
        backend: str = "auto",
        rank: int = 0,
        world_size: int = 1,
        report_error: bool = False,
        show_progress: bool = True,
    ) -> None:
        self.model, self.objective = model, as_objective(objective)
        self.dataset = IndexedDataset(dataset)
        self.schedule = Schedule(epochs, period, warm_start, fraction)
        self.selector = make_selector(selector, granularity, check_count("batch_size", batch_size, 1), backend)
        self.seed = check_count("seed", seed)
        check_count("world_size", world_size, 1)
        if check_count("rank", rank) >= world_size:
            raise ValueError(f"rank must be below world_size, {world_size}; got {rank}")
        self.batch_size, self.num_workers = batch_size, check_count("num_workers", num_workers)
        self.report_error, self.show_progress = report_error, show_progress
        self._extract_options: dict[str, Any] = {
            "head": head,
            "features_fn": features_fn,
            "batch_adapter": batch_adapter,
        }
        self._adapt = batch_adapter or unpack
        self._view = _selection_view(dataset, selection_dataset, selection_transform)
        self._labels: Tensor | None = None
        self._plan = Plan(seed, batch_size, rank, world_size)
        self._weights = torch.ones(len(self.dataset))
        self._batches: list[Tensor] | None = None
        self._selected_epoch = -1
        self.sampler, self.batch_sampler = CoresetSampler(self._plan), CoresetBatchSampler(self._plan)
        self.current: Coreset | None = None
        self.history: list[dict[str, Any]] = []

    @property
    def epochs(self) -> list[int]:
        return self.schedule.training_epochs

    def step(self, epoch: int) -> Coreset | None:
        """Begin an epoch: select when the schedule says so, and point the samplers at what the epoch trains on.

        Calling it again for the same epoch changes nothing. In an epoch that the schedule skips the samplers are empty.

        Returns:
            The new coreset when one was selected, else None.

        Raises:
            ValueError: epoch is outside the schedule.
        """
        if check_count("epoch", epoch) >= self.schedule.epochs:
            raise ValueError(f"epoch must be below epochs, {self.schedule.epochs}; got {epoch}")
        kind = self.schedule.kind(epoch)
        selected = None
        if kind == "coreset" and epoch != self._selected_epoch and self._due(epoch):
            selected = self._select(epoch)
        self._begin(epoch, kind)
        return selected

    def weights(self, index: Tensor, normalize: str = "coreset") -> Tensor:
        """Weights of a batch, on the device of `index`.

        Args:
            index: [B] sample numbers, as the dataset emits them.
            normalize: "coreset" (mean 1 over the coreset) or "none" (as selected). On full data all weights are 1.

        Raises:
            ValueError: an index that the current epoch does not train on.
        """
        check_choice("normalize", normalize, ("coreset", "none"))
        found = self._weights[index.cpu()]
        if bool(torch.isnan(found).any()):
            missing = index.cpu()[torch.isnan(found)][0]
            raise ValueError(
                f"index must come from this coreset's sampler; sample {int(missing)} is not part of epoch "
                f"{self._plan.epoch}"
            )
        if normalize == "none" and self.current is not None and self.schedule.kind(self._plan.epoch) == "coreset":
            found = found * self.current.weights.mean()
        return found.to(index.device)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs for the same picks and the same order; loads with weights_only=True."""
        current = self.current
        tensors = None if current is None else [current.indices, current.weights, current.gains]
        return {
            "config": self._config(),
            "epoch": self._plan.epoch,
            "selected_epoch": self._selected_epoch,
            "coreset": tensors,
            "stats": {} if current is None else current.stats,
            "batches": self._batches,
            "history": self.history,
            "objective": self.objective.state_dict() if hasattr(self.objective, "state_dict") else {},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            ValueError: the state is of a run with other settings or other data; names them.
        """
        own, saved = self._config(), state.get("config", {})
        different = [f"{k} (here {own[k]!r}, there {saved.get(k)!r})" for k in own if own[k] != saved.get(k)]
        if different:
            raise ValueError(f"state must be of a run with the same settings; these differ: {', '.join(different)}")
        self._selected_epoch = state["selected_epoch"]
        tensors = state["coreset"]
        self.current = (
            None
            if tensors is None
            else Coreset(tensors[0], tensors[1], tensors[2], dict(state["stats"])).check(len(self.dataset))
        )
        self._batches, self.history = state["batches"], list(state["history"])
        if hasattr(self.objective, "load_state_dict"):
            self.objective.load_state_dict(state["objective"])
        if state["epoch"] >= 0:
            self._begin(state["epoch"], self.schedule.kind(state["epoch"]))

    def _config(self) -> dict[str, Any]:
        return {
            "samples": len(self.dataset), "selector": repr(self.selector), "epochs": self.schedule.epochs,
            "period": self.schedule.period, "warm_start": self.schedule.warm_start,
            "fraction": self.schedule.fraction, "seed": self.seed, "batch_size": self.batch_size,
        }  # fmt: skip

    def _due(self, epoch: int) -> bool:
        if self.current is None or self._selected_epoch < self.schedule.first_coreset_epoch:
            return True
        if self.selector.redraws:
            return True
        fixed = not self.selector.needs_gradients
        last_due = epoch - (epoch - self.schedule.first_coreset_epoch) % self.schedule.period
        return not fixed and self._selected_epoch < last_due

    def _begin(self, epoch: int, kind: str) -> None:
        n = len(self.dataset)
        if kind != "coreset" or self.current is None:
            self._weights = torch.ones(n)
            self._plan.set(epoch, torch.arange(n if kind == "full" else 0))
            return
        weights = self.current.weights
        self._weights = torch.full((n,), torch.nan)
        self._weights[self.current.indices] = weights / weights.mean()
        self._plan.set(epoch, self.current.indices, self._batches)

    def _select(self, epoch: int) -> Coreset:
        start = time.perf_counter()
        taken: Extraction | None = None
        seconds: dict[str, float] = {}
        if self.selector.needs_gradients:
            taken = self._gradients()
            seconds |= taken.seconds
        choice = self._choose(epoch, taken)
        coreset = choice.coreset
        if not len(coreset) or not float(coreset.weights.sum()) > 0.0:
            raise RuntimeError("the selection is empty or has zero weight: the gradients give nothing to match")
        seconds |= coreset.stats["seconds"]
        seconds["total"] = time.perf_counter() - start
        if self.report_error and taken is None and self.schedule.selection_due(epoch):
            taken = self._gradients()
            error = gradient_error(taken.gradients, coreset.indices, coreset.weights)
            coreset.stats["relative_gradient_error"] = error
            seconds["diagnostics"] = time.perf_counter() - start - seconds["total"]
        coreset.stats["seconds"] = seconds
        self.current, self._batches, self._selected_epoch = coreset, choice.batches, epoch
        self.history.append({"epoch": epoch, "size": len(coreset), **coreset.stats})
        logger.info("epoch %d: selected %d of %d in %.2f s", epoch, len(coreset), len(self.dataset), seconds["total"])
        return coreset

    def _choose(self, epoch: int, taken: Extraction | None) -> Choice:
        if taken is not None:
            pool = Pool(len(self.dataset), taken.labels, taken.gradients)
        else:
            pool = Pool(len(self.dataset), self._all_labels() if self.selector.needs_labels else None)
        return self.selector.choose(pool, self.schedule.fraction, epoch_seed(self.seed, epoch))

    def _gradients(self) -> Extraction:
        loader = DataLoader(self._view, batch_size=self.batch_size, num_workers=self.num_workers)
        extraction = extract(
            self.model, loader, self.objective, show_progress=self.show_progress, **self._extract_options
        )
        if len(extraction.gradients) != len(self.dataset):
            raise ValueError(
                f"batches must give every sample once: {len(self.dataset)} samples, {len(extraction.gradients)} came"
            )
        return extraction

    def _all_labels(self) -> Tensor:
        if self._labels is None:
            self._labels = labels_of(self._view, self._adapt).cpu()
        return self._labels


make_selector = selector  # the parameter of the same name hides it


def _selection_view(dataset: Any, selection_dataset: Any, transform: Callable[[Any], Any] | None) -> Any:
    """The data as the selection sees it."""
    if selection_dataset is not None:
        if transform is not None:
            raise ValueError("selection_dataset and selection_transform exclude each other; both were given")
        if len(selection_dataset) != len(dataset):
            raise ValueError(
                f"selection_dataset must hold the same {len(dataset)} samples as dataset; got {len(selection_dataset)}"
            )
        return selection_dataset
    if transform is not None:
        return with_transform(dataset, transform)
    if is_random(dataset):
        logger.warning(
            "the dataset gives another image each time it is read: random augmentation leaks into the selection. Pass "
            "selection_transform or selection_dataset"
        )
    return dataset
